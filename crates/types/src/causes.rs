use std::error::Error;

/// An error with all that is behind it, on one line, for logs and for people: a refused connection
/// is often three errors down. Where an error tells its cause itself, that is told once.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}
