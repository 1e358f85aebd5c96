//! A page in front of perch's own, which says what is wrong with the appliance's settings.

use std::path::Path;

use hyper::{Method, StatusCode};

use crate::http::{Response, Router};

/// Longest text that is shown, in characters.
const MOST: usize = 4000;

/// Shows the text in `file`, if there is any, to whoever asks for the page, until they ask for the camera all the same.
#[must_use]
pub fn router(file: Option<&Path>) -> Router {
    let text = file.and_then(|file| std::fs::read_to_string(file).ok()).filter(|text| !text.trim().is_empty());
    let Some(text) = text else { return Router::new() };
    let page = page(&text.chars().take(MOST).collect::<String>());
    Router::new().wrap(move |request, next| {
        let asks_for_page = [Method::GET, Method::HEAD].contains(&request.method) && request.path == "/";
        if !asks_for_page || request.query == "camera" {
            return next.run(request);
        }
        // The words may quote a setting: they are for those who may see the page itself.
        let answer = next.run(request);
        if answer.status() != StatusCode::OK {
            return answer;
        }
        Response::new(StatusCode::OK, "text/html; charset=utf-8", page.clone())
            .with(hyper::header::CACHE_CONTROL, "no-store")
    })
}

fn page(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="dark">
  <title>Settings – perch</title>
  <link rel="stylesheet" href="/static/style.css">
</head>
<body>
  <main class="plain">
    <h1>Settings were not taken</h1>
    <p>{text}</p>
    <p>The settings from before stay in force. Correct the file on the card, and start again.</p>
    <p><a href="/?camera">Go to the camera</a></p>
  </main>
</body>
</html>
"#
    )
}
