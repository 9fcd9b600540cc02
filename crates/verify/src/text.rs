//! Text of others on a terminal.

/// Text with everything escaped that a terminal would not show as it is: control characters, line ends among them, marks that
/// turn the direction of text, and other characters that cannot be seen, as `\u{…}`. It stays one line.
pub fn shown(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, character| {
        if is_printable(character) {
            line.push(character);
        } else {
            line.push_str(&format!("\\u{{{:x}}}", u32::from(character)));
        }
        line
    })
}

/// What Rust prints as it is in a quoted string, quotes and backslashes besides.
fn is_printable(character: char) -> bool {
    if matches!(character, ' '..='~') {
        return true;
    }
    // Behind a letter, since a combining mark is escaped where a text begins with it.
    let behind = ['a', character].iter().collect::<String>();
    behind.escape_debug().nth(2).is_none()
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_a_terminal_would_obey_or_hide_is_escaped() {
        let plain = "acme “Gruß” \"a\\b\" 東京 e\u{301} 🙂";
        assert_eq!(shown(plain), plain);
        for (text, escaped) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nHOLDS", "a\\u{a}HOLDS"),
            ("\r\t\0\u{7f}\u{9b}", "\\u{d}\\u{9}\\u{0}\\u{7f}\\u{9b}"),
            ("\u{202e}evil\u{2066}", "\\u{202e}evil\\u{2066}"),
            ("\u{200b}\u{feff}\u{2028}\u{a0}\u{e000}", "\\u{200b}\\u{feff}\\u{2028}\\u{a0}\\u{e000}"),
            ("\u{200f}\u{ad}\u{61c}", "\\u{200f}\\u{ad}\\u{61c}"),
        ] {
            assert_eq!(shown(text), escaped);
        }
    }
}
