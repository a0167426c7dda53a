//! Text widths without a font: an upper bound for the usual sans-serif faces, so that text fits its box.

/// Width of a text in pixels at a font size.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(em).sum::<f64>() * size
}

/// Width of a character in units of the font size: of Verdana and DejaVu, the widest common ones.
fn em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.37,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' | '\\' => 0.43,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '—' | '…' => 1.0,
        'A'..='Z' => 0.75,
        '=' | '<' | '>' | '≤' | '≥' | '≠' | '+' | '~' | '#' | '_' => 0.84,
        '\0'..='\u{2e7f}' => 0.64,
        // East Asian scripts, symbols, emoji.
        _ => 1.05,
    }
}

/// A text on lines of at most `chars_max` characters, broken at blanks and inside camel-case or hyphenated names; at
/// most `lines_max` lines.
pub(super) fn wrap(text: &str, chars_max: usize, lines_max: usize) -> Vec<String> {
    let chars: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut lines = Vec::new();
    let mut from = 0;
    while chars.len() - from > chars_max && lines.len() + 1 < lines_max {
        let joint = |&at: &usize| {
            let (before, after) = (chars[at - 1], chars[at]);
            matches!(before, ' ' | '-' | '_' | ':' | '.' | '/' | ',')
                || (before.is_lowercase() && after.is_uppercase())
        };
        let at = (from + chars_max / 2..=from + chars_max).rev().find(joint).unwrap_or(from + chars_max);
        lines.push(chars[from..at].iter().collect::<String>().trim().to_owned());
        from = at;
    }
    let rest: String = chars[from..].iter().collect();
    lines.push(super::words::shorten(rest.trim(), chars_max));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_break_at_their_joints() {
        assert_eq!(wrap("ChargeCard", 24, 3), ["ChargeCard"]);
        assert_eq!(wrap("Notify the warehouse team", 16, 3), ["Notify the", "warehouse team"]);
        assert_eq!(wrap("NotifyWarehouseTeam", 16, 3), ["NotifyWarehouse", "Team"]);
        assert_eq!(wrap(&"x".repeat(100), 10, 2), ["xxxxxxxxxx".to_owned(), format!("{}…", "x".repeat(9))]);
    }
}
