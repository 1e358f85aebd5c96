//! Paths and the patterns that routes match them with.
//!
//! A pattern holds plain segments, `{name}` (one segment) and, at its end, `{*name}` (one or more
//! segments). Segments are split first and decoded after, so an encoded slash never makes a new segment.

fn segments(path: &str) -> Option<impl Iterator<Item = &str> + Clone> {
    path.strip_prefix('/').map(|rest| rest.split('/'))
}

fn name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Whether `pattern` is one.
pub(super) fn is_pattern(pattern: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let Some(segments) = segments(pattern) else { return false };
    let count = segments.clone().count();
    segments.enumerate().all(|(at, segment)| match name(segment) {
        Some(name) => {
            let rest = name.strip_prefix('*');
            let name = rest.unwrap_or(name);
            (rest.is_none() || at + 1 == count) && !name.is_empty() && name.bytes().all(plain)
        }
        None => segment.bytes().all(plain),
    })
}

/// Whether some path matches both patterns.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (Some(mut one), Some(mut other)) = (segments(one), segments(other)) else { return false };
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) => match (name(a), name(b)) {
                // A parameter takes no empty segment.
                (Some(_), None) if b.is_empty() => return false,
                (None, Some(_)) if a.is_empty() => return false,
                (Some(a), _) if a.starts_with('*') => return true,
                (_, Some(b)) if b.starts_with('*') => return true,
                (None, None) if a != b => return false,
                _ => {}
            },
            _ => return false,
        }
    }
}

/// The names and decoded values of the pattern's parameters, when `path` matches it.
pub(super) fn matches(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (mut pattern, mut path) = (segments(pattern)?, segments(path)?);
    let mut params = Vec::new();
    loop {
        let (expected, found) = match (pattern.next(), path.next()) {
            (None, None) => return Some(params),
            (Some(expected), Some(found)) => (expected, found),
            _ => return None,
        };
        match name(expected) {
            None if expected == found => {}
            None => return None,
            Some(name) => match name.strip_prefix('*') {
                None => params.push((name.into(), decode(found)?)),
                Some(name) => {
                    let rest = std::iter::once(found).chain(path).map(decode).collect::<Option<Vec<_>>>()?;
                    params.push((name.into(), rest.join("/")));
                    return Some(params);
                }
            },
        }
    }
}

/// Decodes one segment; `None` when it is malformed, empty, or would mean another folder.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(out).ok()?;
    let elsewhere = text.is_empty() || text == "." || text == ".." || text.contains(['/', '\\', '\0']);
    (!elsewhere).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_pattern_takes_several_segments_but_not_none() {
        let rest = |path| matches("/static/{*file}", path).map(|params| params[0].1.clone());
        assert_eq!(rest("/static/a/b.js").as_deref(), Some("a/b.js"));
        assert_eq!(rest("/static/a%20b").as_deref(), Some("a b"));
        assert_eq!(rest("/static"), None);
        assert_eq!(rest("/static/"), None);
    }

    #[test]
    fn patterns_overlap_when_one_path_matches_both() {
        assert!(overlap("/a/{x}", "/a/b") && overlap("/{*all}", "/a/b") && overlap("/{x}/b", "/a/{y}"));
        assert!(!overlap("/a/{*rest}", "/a/") && !overlap("/a/{x}", "/a/") && !overlap("/a/{x}", "/b/{x}"));
    }

    #[test]
    fn a_path_that_leaves_its_folder_matches_nothing() {
        for path in ["/static/..", "/static/../x", "/static/%2e%2e/x", "/static/a%2fb", "/static/a%00", "/static/%ff"] {
            assert_eq!(matches("/static/{*file}", path), None, "{path}");
        }
    }

    #[test]
    fn broken_escapes_match_nothing() {
        for path in ["/whep/%", "/whep/%4", "/whep/%zz", "/whep/%+1"] {
            assert_eq!(matches("/whep/{id}", path), None, "{path}");
        }
    }
}
