//! Addresses of cameras in the network, whose passwords are not for logs.

use std::fmt;
use std::str::FromStr;

use ::url::Url;

/// An address that perch can open: `rtsp`, `http` or `https`.
#[derive(Clone, PartialEq, Eq)]
pub struct NetworkUrl(Url);

/// Why an address cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NetworkUrlError(String);

impl FromStr for NetworkUrl {
    type Err = NetworkUrlError;

    fn from_str(text: &str) -> Result<Self, NetworkUrlError> {
        // What was written may hold a password, so it is not repeated.
        let url = Url::parse(text).map_err(|error| NetworkUrlError(format!("the address cannot be read: {error}")))?;
        match url.scheme() {
            "rtsp" | "http" | "https" => {}
            scheme => {
                return Err(NetworkUrlError(format!(
                    "`{scheme}://` is not read directly: pipe it in with `{} | perch --source file:-`",
                    pipe(&format!("{scheme}://…"))
                )));
            }
        }
        match url.host_str() {
            Some(host) if !host.is_empty() => Ok(Self(url)),
            _ => Err(NetworkUrlError(format!("`{text}` names no host"))),
        }
    }
}

impl NetworkUrl {
    /// The address itself, without user and password.
    pub(super) fn bare(&self) -> Url {
        let mut bare = self.0.clone();
        // Both can be set on every address that has a host.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        bare
    }

    /// User and password, decoded, if there are any.
    pub(super) fn credentials(&self) -> Option<(String, String)> {
        let decoded = |text: &str| percent_decoded(text);
        let user = self.0.username();
        (!user.is_empty()).then(|| (decoded(user), decoded(self.0.password().unwrap_or_default())))
    }

    /// The password, as it was written, if there is one.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.0.password()
    }

    pub(super) fn is_rtsp(&self) -> bool {
        self.0.scheme() == "rtsp"
    }

    /// The host alone.
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub(in crate::capture) fn is_http(&self) -> bool {
        !self.is_rtsp()
    }

    /// Whether it names a list of pieces (HLS), by its ending.
    pub(super) fn is_list(&self) -> bool {
        self.0.path().ends_with(".m3u8")
    }

    /// As it was written, with its password: for settings files only.
    #[must_use]
    pub fn with_secrets(&self) -> &str {
        self.0.as_str()
    }

    /// The same address with stars for its password.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut masked = self.0.clone();
        if masked.password().is_some() {
            let _ = masked.set_password(Some("***"));
        }
        Self(masked)
    }

    /// The ffmpeg command that makes of it something that perch reads.
    pub(super) fn as_pipe(&self) -> String {
        format!("`{} | perch --source file:-`", pipe(self.masked().0.as_str()))
    }
}

/// What ffmpeg turns into something that perch reads.
pub fn pipe(input: &str) -> String {
    format!("ffmpeg -i {input} -f yuv4mpegpipe -pix_fmt yuv420p -")
}

fn percent_decoded(text: &str) -> String {
    // The form's `+` is none here: it is written as it is.
    let escaped = text.replace('+', "%2B");
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(key, _)| key.into_owned()).unwrap_or_default()
}

impl fmt::Display for NetworkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.masked().0.as_str())
    }
}

impl fmt::Debug for NetworkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_to_nobody_but_the_camera() {
        let url: NetworkUrl = "rtsp://me:s%3Acret+%40@cam.local:554/stream?x=1".parse().unwrap();
        assert_eq!(url.to_string(), "rtsp://me:***@cam.local:554/stream?x=1");
        assert_eq!(format!("{url:?}"), url.to_string());
        assert_eq!(url.credentials(), Some(("me".into(), "s:cret+@".into())));
        assert_eq!(url.bare().as_str(), "rtsp://cam.local:554/stream?x=1");
        assert!(url.with_secrets().contains("s%3Acret") && !url.as_pipe().contains("cret"));
        let plain: NetworkUrl = "http://cam/1.jpg".parse().unwrap();
        assert_eq!((plain.credentials(), plain.to_string().as_str()), (None, "http://cam/1.jpg"));
    }

    #[test]
    fn what_is_not_read_names_the_way_round() {
        let refused = |text: &str| text.parse::<NetworkUrl>().unwrap_err().to_string();
        for scheme in ["rtmp", "rtp", "srt", "rtsps"] {
            let words = refused(&format!("{scheme}://me:secret@cam/1"));
            assert!(words.contains(&format!("ffmpeg -i {scheme}://…")) && !words.contains("secret"), "{words}");
        }
        assert!(refused("http://").contains("cannot be read"));
    }
}
