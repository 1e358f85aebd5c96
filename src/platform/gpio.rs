//! The pins of a Raspberry Pi: the only file that names `rppal`.
//!
//! What the light says and what the button means is `panel`'s, what follows from a wish the caller's. A machine without
//! pins is no failure: one line in the log, and perch goes on without them.

use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{info, warn};
use rppal::gpio::{Gpio, InputPin, OutputPin};

use super::config::GpioConfig;
use super::panel::{Button, Situation, Wish, light};
use crate::base::shutdown::Shutdown;

/// How often the inputs are read; a press is longer.
const READ_INTERVAL: Duration = Duration::from_millis(20);
/// How often the situation is asked for without inputs.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What the pins show and do.
pub trait Device: Send + Sync + 'static {
    /// What there is to show.
    fn situation(&self) -> Situation;
    /// The button was pressed.
    fn wish(&self, wish: Wish);
    /// The motion sensor saw something begin to move.
    fn motion(&self);
}

struct Pins {
    led: Option<OutputPin>,
    button: Option<InputPin>,
    pir: Option<InputPin>,
    /// Held, so that they keep their levels: a pin that is dropped becomes an input again.
    _infrared: Vec<OutputPin>,
}

impl Pins {
    fn open(config: &GpioConfig) -> rppal::gpio::Result<Self> {
        let gpio = Gpio::new()?;
        let output = |pin: u8, is_high: bool| -> rppal::gpio::Result<OutputPin> {
            let pin = gpio.get(pin)?;
            Ok(if is_high { pin.into_output_high() } else { pin.into_output_low() })
        };
        let infrared = [config.ir_led, config.ir_cut].into_iter().flatten().map(|pin| output(pin, config.infrared));
        Ok(Self {
            led: config.status_led.map(|pin| output(pin, false)).transpose()?,
            button: config.button.map(|pin| gpio.get(pin).map(rppal::gpio::Pin::into_input_pullup)).transpose()?,
            pir: config.pir.map(|pin| gpio.get(pin).map(rppal::gpio::Pin::into_input_pulldown)).transpose()?,
            _infrared: infrared.collect::<Result<_, _>>()?,
        })
    }
}

/// Starts the thread that serves the pins of `config`; `None` when there are none to serve.
#[must_use]
pub fn start(config: &GpioConfig, device: Arc<dyn Device>, shutdown: Shutdown) -> Option<JoinHandle<()>> {
    if !config.is_used() {
        return None;
    }
    let pins = match Pins::open(config) {
        Ok(pins) => pins,
        Err(error) => {
            warn!("no light, button or sensor: this machine's pins cannot be used: {error}");
            return None;
        }
    };
    let reset = config.factory_reset.clone();
    let run = move || serve(pins, &*device, &shutdown, || run_factory_reset(reset.as_deref()));
    thread::Builder::new().name("gpio".into()).spawn(run).inspect_err(|error| warn!("no thread for pins: {error}")).ok()
}

fn serve(mut pins: Pins, device: &dyn Device, shutdown: &Shutdown, factory_reset: impl Fn()) {
    let began = Instant::now();
    let mut button = Button::default();
    let (mut shown, mut shown_since) = (Situation::Starting, Duration::ZERO);
    let mut moves = false;
    let has_inputs = pins.button.is_some() || pins.pir.is_some();
    loop {
        let now = began.elapsed();
        if let Some(pin) = &pins.button
            && let Some(wish) = button.contact(now, pin.is_low())
        {
            info!(
                "the button asks to {}",
                if wish == Wish::FactoryReset { "reset all settings" } else { "toggle privacy" }
            );
            device.wish(wish);
            if wish == Wish::FactoryReset {
                factory_reset();
            }
        }
        if let Some(pin) = &pins.pir
            && moves != pin.is_high()
        {
            moves = !moves;
            if moves {
                device.motion();
            }
        }
        let situation = if button.is_held(now) { Situation::Held } else { device.situation() };
        if situation != shown {
            (shown, shown_since) = (situation, now);
        }
        let (is_on, until_change) = light(shown, now.saturating_sub(shown_since));
        if let Some(led) = &mut pins.led {
            led.write(is_on.into());
        }
        let interval = if has_inputs { READ_INTERVAL } else { LOOK_INTERVAL };
        if shutdown.wait_timeout(interval.min(until_change)) {
            if let Some(led) = &mut pins.led {
                led.set_low();
            }
            return;
        }
    }
}

/// The owner's program, without a shell and without arguments.
fn run_factory_reset(program: Option<&std::path::Path>) {
    let Some(program) = program else {
        info!("nothing to reset: gpio.factory_reset names no program");
        return;
    };
    match Command::new(program).status() {
        Ok(status) => info!("{} ended with {status}", program.display()),
        Err(error) => warn!("{} could not be run: {error}", program.display()),
    }
}
