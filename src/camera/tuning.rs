//! Requests that a running camera's controls be told or changed, from whatever thread to the capture thread.
//!
//! The source belongs to the capture thread, which answers between two pictures. It is woken when nobody watches: an
//! open source has controls whether or not its pictures are wanted. Requests wait while a source is being opened, and are
//! refused at once while there is none; none waits for longer than [`PATIENCE`], and few wait at once.

use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::warn;

use super::demand::Demand;
use super::kept_controls::KeptControls;
use super::picture::Picture;
use crate::capture::tuning::{Change, Control, ControlError, ControlKind, Patch, changes};
use crate::capture::{CameraSource, CaptureError};

/// How long a request may wait for the capture thread, and for the camera.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most requests that wait at once: fewer than there are threads for HTTP.
const MOST_REQUESTS: usize = 4;

/// Why controls were not told or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TuningError {
    /// The camera does not take it; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// There is no camera now.
    #[error("the camera is not there")]
    Absent,
    /// The camera has not answered in time.
    #[error("the camera did not answer within {} s", PATIENCE.as_secs())]
    Late,
    /// Too many ask at once.
    #[error("too many requests for this camera's controls are waiting")]
    Busy,
}

type Answer = Result<Vec<Control>, TuningError>;

struct Request {
    patch: Option<Patch>,
    answer: SyncSender<Answer>,
    /// Whoever asked waits no longer than this.
    until: Instant,
}

struct Waiting {
    is_open: bool,
    requests: VecDeque<Request>,
}

impl Default for Waiting {
    /// The capture thread is about to open its source.
    fn default() -> Self {
        Self { is_open: true, requests: VecDeque::new() }
    }
}

/// Where requests wait, and what they have changed.
#[derive(Default)]
pub(super) struct Tuning {
    waiting: Mutex<Waiting>,
    kept: KeptControls,
    picture: Arc<Picture>,
    /// What was said when values did not fit, so that it is said once.
    complaints: Mutex<Vec<String>>,
}

impl Tuning {
    pub(super) fn new(kept: KeptControls, picture: Arc<Picture>) -> Self {
        Self { kept, picture, ..Self::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What other threads ask.

    /// All controls, after the changes of `patch`, if there is one, were made. The capture thread is woken by `demand`.
    ///
    /// # Errors
    /// When the camera is not there, does not answer, or refuses the patch.
    pub(super) fn ask(&self, patch: Option<Patch>, demand: &Demand) -> Answer {
        let is_change = patch.is_some();
        let (answer, answered) = sync_channel(1);
        {
            let mut waiting = self.waiting();
            if !waiting.is_open {
                return Err(TuningError::Absent);
            }
            if waiting.requests.len() >= MOST_REQUESTS {
                return Err(TuningError::Busy);
            }
            waiting.requests.push_back(Request { patch, answer, until: Instant::now() + PATIENCE });
        }
        demand.nudge();
        let answer = answered.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(TuningError::Late),
            RecvTimeoutError::Disconnected => Err(TuningError::Absent),
        });
        if is_change {
            self.kept.save();
        }
        answer
    }

    // What the capture thread does.

    /// Gives a source that was just opened the values that were kept. What does not fit it is said once and left out.
    ///
    /// # Errors
    /// When the source is lost.
    pub(super) fn restore(&self, source: &mut dyn CameraSource) -> Result<(), CaptureError> {
        let kept = self.kept.values();
        if kept.is_empty() {
            return Ok(());
        }
        let known = self.known(source)?;
        // A stand-in, such as the test picture until a camera comes, has none of the camera's own.
        let is_stand_in = known.own == 0;
        let device = source.describe();
        let mut complaints = Vec::new();
        let mut fitting = Patch::new();
        for (key, value) in kept {
            if is_stand_in && !known.controls.iter().any(|control| control.key == key) {
                continue;
            }
            let patch = Patch::from_iter([(key, serde_json::json!(value))]);
            match changes(&device, &known.controls, &patch) {
                Ok(_) => fitting.extend(patch),
                Err(problem) => complaints.push(problem),
            }
        }
        for change in changes(&device, &known.controls, &fitting).unwrap_or_default() {
            match self.change(source, &known, vec![change]) {
                Ok(()) => {}
                Err(ControlError::Refused(problem)) => complaints.push(problem),
                Err(ControlError::Source(error)) => return Err(error),
            }
        }
        if is_stand_in && complaints.is_empty() {
            return Ok(());
        }
        let mut said = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != complaints {
            complaints.iter().for_each(|problem| warn!("a value that was kept is left out: {problem}"));
            *said = complaints;
        }
        Ok(())
    }

    /// Requests are taken from now on, until what is returned is dropped: the source is about to be opened, or is open.
    pub(super) fn open(&self) -> Open<'_> {
        self.waiting().is_open = true;
        Open(self)
    }

    /// There is no source: all who wait are told so, and all who come, until it is [opened](Self::open).
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.is_open = false;
        waiting.requests.clear();
    }

    /// Answers one who waits, if somebody does, so that the next picture is not late; returns whether more do.
    ///
    /// # Errors
    /// When the source is lost.
    pub(super) fn answer(&self, source: &mut dyn CameraSource) -> Result<bool, CaptureError> {
        let (next, more) = {
            let mut waiting = self.waiting();
            let now = Instant::now();
            waiting.requests.retain(|request| request.until > now);
            (waiting.requests.pop_front(), !waiting.requests.is_empty())
        };
        if let Some(Request { patch, answer, .. }) = next {
            let told = match self.perform(source, patch.as_ref()) {
                Ok(controls) => Ok(controls),
                Err(ControlError::Refused(problem)) => Err(TuningError::Refused(problem)),
                Err(ControlError::Source(error)) => return Err(error),
            };
            // Whoever asked may have given up this moment.
            let _ = answer.send(told);
        }
        Ok(more)
    }

    /// The camera's own controls, and those of what is done to its pictures. Where both have one of the same key, it is
    /// the camera's.
    fn known(&self, source: &mut dyn CameraSource) -> Result<Known, CaptureError> {
        let mut controls = source.controls()?;
        let own = controls.len();
        let mut ours = self.picture.controls(source.orients());
        ours.retain(|control| !controls.iter().any(|other| other.key == control.key));
        controls.extend(ours);
        Ok(Known { controls, own })
    }

    /// Makes changes that were checked: the camera's own first, as it may refuse them.
    fn change(&self, source: &mut dyn CameraSource, known: &Known, changes: Vec<Change>) -> Result<(), ControlError> {
        let is_own = |change: &Change| known.controls[..known.own].iter().any(|control| control.key == change.key);
        let (own, ours): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_own);
        if !own.is_empty() {
            source.change_controls(&own)?;
        }
        for change in &ours {
            self.picture.change(change);
        }
        Ok(())
    }

    fn perform(&self, source: &mut dyn CameraSource, patch: Option<&Patch>) -> Result<Vec<Control>, ControlError> {
        let known = self.known(source)?;
        let Some(patch) = patch else { return Ok(known.controls) };
        let changes = changes(&source.describe(), &known.controls, patch).map_err(ControlError::Refused)?;
        self.change(source, &known, changes.clone())?;
        let controls = self.known(source)?.controls;
        let is_button =
            |key: &str| controls.iter().any(|control| control.key == key && control.kind == ControlKind::Button);
        let lasting: Vec<_> = changes.into_iter().filter(|change| !is_button(&change.key)).collect();
        self.kept.note(&lasting);
        Ok(controls)
    }
}

/// What can be changed: the camera's own controls, `own` of them, and then those of what is done to its pictures.
struct Known {
    controls: Vec<Control>,
    own: usize,
}

/// A source that can be asked, now or soon. When it is dropped, all who wait are told that there is none.
pub(super) struct Open<'a>(&'a Tuning);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::tuning::Value;
    use crate::capture::tuning::tests::control;
    use crate::media::frame::Frame;
    use serde_json::json;

    /// A source with two controls that is lost, or refuses, when it is told to.
    struct Scripted {
        controls: Vec<Control>,
        changed: Vec<(String, Option<Value>)>,
        refuses: &'static str,
        is_lost: bool,
    }

    impl Scripted {
        fn new() -> Self {
            let range = || ControlKind::Integer { minimum: 0, maximum: 10, step: 1 };
            let controls =
                vec![control("gain", range()), control("hue", range()), control("focus", ControlKind::Button)];
            Self { controls, changed: Vec::new(), refuses: "", is_lost: false }
        }
    }

    impl CameraSource for Scripted {
        fn next_frame(&mut self, _: Duration) -> Result<Option<Frame>, CaptureError> {
            Ok(None)
        }

        fn describe(&self) -> String {
            "scripted".into()
        }

        fn controls(&mut self) -> Result<Vec<Control>, CaptureError> {
            if self.is_lost { Err(CaptureError::Ended) } else { Ok(self.controls.clone()) }
        }

        fn change_controls(&mut self, changes: &[Change]) -> Result<(), ControlError> {
            for Change { key, value } in changes {
                if key == self.refuses {
                    return Err(ControlError::Refused(format!("no {key} today")));
                }
                self.changed.push((key.clone(), value.clone()));
            }
            Ok(())
        }
    }

    fn patch(value: &serde_json::Value) -> Patch {
        value.as_object().unwrap().clone()
    }

    fn kept(values: &serde_json::Value) -> Tuning {
        let kept = KeptControls::default();
        let change = |(key, value): (&String, &serde_json::Value)| Change {
            key: key.clone(),
            value: Some(serde_json::from_value(value.clone()).unwrap()),
        };
        kept.note(&patch(values).iter().map(change).collect::<Vec<_>>());
        Tuning::new(kept, Arc::default())
    }

    /// What a capture thread that idles answers to one request.
    fn asked(tuning: Tuning, source: Scripted, request: Option<Patch>) -> (Answer, Tuning, Scripted) {
        let demand = Arc::new(Demand::new(Duration::ZERO));
        let tuning = Arc::new(tuning);
        let asking = (Arc::clone(&tuning), Arc::clone(&demand));
        let open = tuning.open();
        let client = std::thread::spawn(move || asking.0.ask(request, &asking.1));
        let mut source = source;
        assert!(!demand.wait_for_readers(Duration::from_secs(30)));
        let lost = tuning.answer(&mut source).is_err();
        assert_eq!(lost, source.is_lost);
        drop(open);
        let answer = client.join().unwrap();
        (answer, Arc::into_inner(tuning).unwrap(), source)
    }

    #[test]
    fn a_camera_that_nobody_watches_answers_at_once() {
        let began = Instant::now();
        let (answer, ..) = asked(Tuning::default(), Scripted::new(), None);
        let controls = answer.unwrap();
        assert!(controls.starts_with(&Scripted::new().controls));
        assert!(controls.iter().any(|control| control.key == "hflip"), "and those of every picture");
        assert!(began.elapsed() < PATIENCE);
    }

    #[test]
    fn whoever_asks_before_the_source_is_open_is_answered_by_it() {
        let demand = Arc::new(Demand::new(Duration::ZERO));
        let tuning = Arc::new(Tuning::default());
        let asking = (Arc::clone(&tuning), Arc::clone(&demand));
        let client = std::thread::spawn(move || asking.0.ask(None, &asking.1));
        assert!(!demand.wait_for_readers(Duration::from_secs(30)));
        let _open = tuning.open();
        tuning.answer(&mut Scripted::new()).unwrap();
        assert!(client.join().unwrap().unwrap().starts_with(&Scripted::new().controls));
    }

    #[test]
    fn what_was_changed_is_kept_and_buttons_are_not() {
        let request = patch(&json!({ "gain": 3, "focus": true, "hue": null }));
        let (answer, tuning, source) = asked(kept(&json!({ "hue": 1 })), Scripted::new(), Some(request));
        answer.unwrap();
        assert_eq!(source.changed.len(), 3);
        assert_eq!(tuning.kept.values(), [("gain".to_owned(), Value::Integer(3))].into());
    }

    #[test]
    fn a_patch_with_one_bad_value_reaches_no_camera() {
        for (request, words) in
            [(json!({ "gain": 3, "hue": 11 }), "`hue`: 11 is out of range: 0 to 10"), (json!({ "a": 1 }), "no such")]
        {
            let (answer, tuning, source) = asked(Tuning::default(), Scripted::new(), Some(patch(&request)));
            let Err(TuningError::Refused(problem)) = answer else { panic!("{request}: {answer:?}") };
            assert!(problem.contains(words) && problem.contains("scripted"), "{problem}");
            assert_eq!((source.changed, tuning.kept.values().len()), (vec![], 0));
        }
    }

    #[test]
    fn what_is_done_to_pictures_is_changed_beside_the_camera_s_own_controls_and_kept() {
        let request = patch(&json!({ "gain": 3, "rotation": 90, "hflip": true }));
        let (answer, tuning, source) = asked(Tuning::default(), Scripted::new(), Some(request));
        answer.unwrap();
        assert_eq!(source.changed, [("gain".to_owned(), Some(Value::Integer(3)))]);
        assert_eq!((tuning.picture.settings().0.rotation, tuning.picture.settings().0.hflip), (90, true));
        assert_eq!(tuning.kept.values().len(), 3);
        let again = kept(&json!({ "rotation": 270, "gain": 3 }));
        let mut stand_in = Scripted { controls: Vec::new(), ..Scripted::new() };
        again.restore(&mut stand_in).unwrap();
        assert_eq!((again.picture.settings().0.rotation, again.complaints.lock().unwrap().len()), (270, 0));
    }

    #[test]
    fn a_control_of_the_camera_s_own_is_meant_where_both_have_one_of_this_name() {
        let mut source = Scripted::new();
        source.controls.push(control("colorspace", ControlKind::Boolean));
        let (answer, tuning, source) = asked(Tuning::default(), source, Some(patch(&json!({ "colorspace": true }))));
        assert_eq!(answer.unwrap().iter().filter(|control| control.key == "colorspace").count(), 1);
        assert_eq!(source.changed, [("colorspace".to_owned(), Some(Value::Boolean(true)))]);
        assert_eq!(tuning.picture.settings().0.colorspace, None);
    }

    #[test]
    fn what_the_driver_refuses_changes_no_picture() {
        let request = patch(&json!({ "gain": 3, "hflip": true }));
        let (answer, tuning, _) =
            asked(Tuning::default(), Scripted { refuses: "gain", ..Scripted::new() }, Some(request));
        assert_eq!(answer, Err(TuningError::Refused("no gain today".into())));
        assert!(!tuning.picture.settings().0.hflip);
    }

    #[test]
    fn what_the_driver_refuses_is_not_kept() {
        let source = Scripted { refuses: "gain", ..Scripted::new() };
        let (answer, tuning, _) = asked(Tuning::default(), source, Some(patch(&json!({ "gain": 3 }))));
        assert_eq!(answer, Err(TuningError::Refused("no gain today".into())));
        assert_eq!(tuning.kept.values().len(), 0);
    }

    #[test]
    fn a_camera_that_is_lost_or_not_there_is_absent() {
        let (answer, tuning, _) = asked(Tuning::default(), Scripted { is_lost: true, ..Scripted::new() }, None);
        assert_eq!(answer, Err(TuningError::Absent));
        assert_eq!(tuning.ask(None, &Demand::new(Duration::ZERO)), Err(TuningError::Absent), "closed again");
    }

    #[test]
    fn a_capture_thread_that_is_stuck_makes_few_wait_and_none_for_long() {
        let tuning = Arc::new(Tuning::default());
        let demand = Arc::new(Demand::new(Duration::ZERO));
        let open = tuning.open();
        let began = Instant::now();
        let clients: Vec<_> = (0..=MOST_REQUESTS)
            .map(|_| {
                let (tuning, demand) = (Arc::clone(&tuning), Arc::clone(&demand));
                std::thread::spawn(move || tuning.ask(Some(patch(&json!({ "gain": 3 }))), &demand))
            })
            .collect();
        let answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        let count = |error: TuningError| answers.iter().filter(|answer| **answer == Err(error.clone())).count();
        assert_eq!((count(TuningError::Late), count(TuningError::Busy)), (MOST_REQUESTS, 1));
        assert!(began.elapsed() < PATIENCE * 3);
        let mut source = Scripted::new();
        assert!(!tuning.answer(&mut source).unwrap());
        assert_eq!(source.changed, [], "nobody waits for it any more");
        drop(open);
    }

    #[test]
    fn one_is_answered_between_two_pictures() {
        let tuning = Arc::new(Tuning::default());
        let demand = Arc::new(Demand::new(Duration::ZERO));
        let _open = tuning.open();
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let (tuning, demand) = (Arc::clone(&tuning), Arc::clone(&demand));
                std::thread::spawn(move || tuning.ask(None, &demand))
            })
            .collect();
        while tuning.waiting().requests.len() < 2 {
            demand.wait_for_readers(Duration::from_millis(100));
        }
        let more: Vec<_> = (0..3).map(|_| tuning.answer(&mut Scripted::new()).unwrap()).collect();
        assert_eq!(more, [true, false, false]);
        assert!(clients.into_iter().all(|client| client.join().unwrap().is_ok()));
    }

    #[test]
    fn values_are_restored_and_those_that_do_not_fit_are_left_out_and_said_once() {
        let tuning = kept(&json!({ "gain": 3, "hue": 99, "zoom": 1 }));
        for _ in 0..2 {
            let mut source = Scripted::new();
            tuning.restore(&mut source).unwrap();
            assert_eq!(source.changed, [("gain".to_owned(), Some(Value::Integer(3)))]);
            assert_eq!(tuning.complaints.lock().unwrap().len(), 2);
        }
        assert_eq!(tuning.kept.values().len(), 3, "another camera may take them");
    }

    #[test]
    fn one_value_that_the_driver_refuses_keeps_no_other_from_being_restored() {
        let tuning = kept(&json!({ "gain": 3, "hue": 4 }));
        let mut source = Scripted { refuses: "gain", ..Scripted::new() };
        tuning.restore(&mut source).unwrap();
        assert_eq!(source.changed, [("hue".to_owned(), Some(Value::Integer(4)))]);
    }

    #[test]
    fn a_source_that_is_lost_meanwhile_is_an_error() {
        let tuning = kept(&json!({ "gain": 3 }));
        assert!(tuning.restore(&mut Scripted { is_lost: true, ..Scripted::new() }).is_err());
    }
}
