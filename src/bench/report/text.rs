//! Pictures made of letters, and lines that fit: for the terminal and for `report.md`.

use super::svg::axis::Axis;

/// From few samples to many.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How samples lie along an axis, in so many letters: the higher the block, the more of them.
pub(crate) fn density(axis: &Axis, samples: impl IntoIterator<Item = f64>, width: usize) -> String {
    let mut counts = vec![0_usize; width];
    for sample in samples {
        if let Some(count) = counts.get_mut(column(axis.fraction(sample), width)) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let letter = |count: &usize| match count {
        0 => ' ',
        // One sample alone is seen, too.
        count => level((count * LEVELS.len()).div_ceil(most)),
    };
    counts.iter().map(letter).collect()
}

/// Values in their order, in a letter each: the greatest is the highest block.
pub(crate) fn growth(values: &[f64]) -> String {
    let axis = Axis::from_zero(values.iter().copied());
    let letter = |value: &f64| level(column(axis.fraction(*value), LEVELS.len()) + 1);
    values.iter().map(letter).collect()
}

fn level(of_eight: usize) -> char {
    LEVELS.get(of_eight.saturating_sub(1)).copied().unwrap_or('█')
}

/// The column of `width` that a fraction lies in.
fn column(fraction: f64, width: usize) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "the columns of a terminal")]
    let begins = |column: &usize| *column as f64 <= fraction * width as f64;
    (0..width).rev().find(begins).unwrap_or(0)
}

/// Text in lines of at most `width` letters, each with the indent; a word that is longer has a line of its own.
pub(crate) fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let taken = indent.chars().count() + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && taken > width {
            lines.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push_str(&format!("{indent}{line}\n"));
    }
    lines
}

/// The same with letters of ASCII alone, each in one column.
pub(crate) fn ascii(text: &str) -> String {
    const DENSITY: [char; 8] = ['.', ':', '-', '=', '+', '*', '#', '@'];
    let letter = |letter: char| match letter {
        '×' => 'x',
        'µ' => 'u',
        '≤' => '<',
        '→' => '>',
        '–' | '·' => '-',
        '…' => '~',
        '“' | '”' => '"',
        '’' => '\'',
        letter if letter.is_ascii() => letter,
        letter => {
            let level = LEVELS.iter().position(|level| *level == letter);
            level.and_then(|level| DENSITY.get(level)).copied().unwrap_or('?')
        }
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_shows_where_samples_lie_and_each_that_is_alone() {
        let axis = Axis::of([0.0, 10.0]);
        let samples = [1.2, 1.3, 1.4, 1.5, 9.9];
        let drawn = density(&axis, samples, 10);
        assert_eq!(drawn, " █       ▂");
        assert_eq!(ascii(&drawn), " @       :");
        assert_eq!(density(&axis, [], 3), "   ");
        assert_eq!(growth(&[1.0, 4.0, 8.0]), "▁▄█");
    }

    #[test]
    fn lines_fit() {
        assert_eq!(wrapped("one two three four", 11, "  "), "  one two\n  three\n  four\n");
        assert_eq!(wrapped("unbreakable", 4, ""), "unbreakable\n");
        assert_eq!(wrapped("  ", 4, ""), "");
    }

    #[test]
    fn ascii_is_ascii() {
        assert_eq!(ascii("6.7 µs – 2× “a” ü…"), "6.7 us - 2x \"a\" ?~");
    }
}
