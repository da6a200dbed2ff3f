//! Letters for the few texts that are written into pictures: numbers and seconds.

/// Rows of a letter.
pub(crate) const HEIGHT: usize = 7;

/// Columns of a letter.
const WIDTH: usize = 5;

/// Columns from one letter to the next.
const ADVANCE: usize = WIDTH + 1;

/// Columns of a text.
pub(crate) fn width(text: &str) -> usize {
    (text.chars().count() * ADVANCE).saturating_sub(1)
}

/// The points of a text that are drawn, as column and row.
pub(crate) fn points(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.chars().enumerate().flat_map(|(place, letter)| {
        let rows = rows(letter).into_iter().enumerate();
        rows.flat_map(move |(y, row)| {
            let columns = (0..WIDTH).filter(move |x| row >> (WIDTH - 1 - x) & 1 == 1);
            columns.map(move |x| (place * ADVANCE + x, y))
        })
    })
}

/// The rows of a letter from the top, a bit a column; what has no picture here is blank.
fn rows(letter: char) -> [u8; HEIGHT] {
    match letter {
        '0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        '2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
        '3' => [0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110],
        '4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        '5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
        '6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
        '7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        '8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
        '9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
        '.' => [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100],
        's' => [0b00000, 0b00000, 0b01111, 0b10000, 0b01110, 0b00001, 0b11110],
        _ => [0; HEIGHT],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_drawn_letter_by_letter() {
        let text = "1.5 s";
        assert_eq!(width(text), 29);
        let mut picture = [[' '; 29]; HEIGHT];
        points(text).for_each(|(x, y)| picture[y][x] = '#');
        let lines = picture.map(|row| row.into_iter().collect::<String>());
        let expected = [
            "  #         #####            ",
            " ##         #                ",
            "  #         ####         ####",
            "  #             #       #    ",
            "  #             #        ### ",
            "  #    ##   #   #           #",
            " ###   ##    ###        #### ",
        ];
        assert_eq!(lines, expected);
        assert_eq!(width(""), 0);
    }
}
