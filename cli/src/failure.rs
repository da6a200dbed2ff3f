//! Errors as people read them.

/// An error with its causes on one line. Some libraries repeat the cause in the text of the error; here it comes once.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn each_cause_is_told_once() {
        let missing = videomae_preprocess::open_video("absent.mp4").map(drop);
        let error = missing.context("clip 3").expect_err("there is no such file");
        let text = text(&error);
        assert!(
            text.starts_with("clip 3: absent.mp4: ") && text.matches("os error 2").count() == 1,
            "{text}"
        );
    }
}
