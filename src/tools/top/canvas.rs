//! The intended content of the terminal: a character and a style for each cell. Only the cells that differ from the
//! displayed ones are sent, so nothing flickers and a slow connection suffices.
//!
//! Drawing is cropped to its area, and a character is always one column wide: others (control characters, wide scripts)
//! are replaced. For terminals without UTF-8, the few other characters that views use have ASCII counterparts.

/// The look of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Dim,
    Strong,
    /// The name of a figure.
    Label,
    /// The first and the last line.
    Frame,
    /// The first line while there is a problem.
    Alarm,
    /// The head of a table, and the column that it is sorted by.
    Head,
    HeadChosen,
    Chart,
    Good,
    Warning,
    Bad,
}

impl Style {
    /// Returns the parameters of the escape sequence that selects the style, with or without colours.
    fn sequence(self, colours: bool) -> &'static str {
        match (self, colours) {
            (Style::Plain, _) | (Style::Label | Style::Chart | Style::Good, false) => "0",
            (Style::Strong, _) | (Style::Warning | Style::Bad, false) => "0;1",
            (Style::Dim, true) => "0;90",
            (Style::Dim, false) => "0;2",
            (Style::Label, true) => "0;36",
            (Style::Chart | Style::Good, true) => "0;32",
            (Style::Warning, true) => "0;33",
            (Style::Bad, true) => "0;1;31",
            (Style::Frame, true) => "0;97;44",
            (Style::Head, true) => "0;30;46",
            (Style::HeadChosen, true) => "0;1;97;46",
            (Style::Alarm, true) => "0;1;97;41",
            (Style::Frame | Style::Head | Style::Alarm, false) => "0;7",
            (Style::HeadChosen, false) => "0;1;7",
        }
    }
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// A rectangle of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    pub row: usize,
    pub column: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Area {
    /// Splits off the first `rows` rows. Returns them and the rest.
    pub fn split_rows(self, rows: usize) -> (Area, Area) {
        let rows = rows.min(self.rows);
        let below = Area { row: self.row + rows, rows: self.rows - rows, ..self };
        (Area { rows, ..self }, below)
    }

    /// Splits off the first `columns` columns. Returns them and the rest.
    pub fn split_columns(self, columns: usize) -> (Area, Area) {
        let columns = columns.min(self.columns);
        let right = Area { column: self.column + columns, columns: self.columns - columns, ..self };
        (Area { columns, ..self }, right)
    }

    /// Returns one of its rows; empty if there is no such row.
    pub fn line(self, row: usize) -> Area {
        self.split_rows(row).1.split_rows(1).0
    }
}

type Cell = (char, Style);

const BLANK: Cell = (' ', Style::Plain);
/// Up to this many equal cells between two different ones are sent too: moving the cursor takes about as many bytes.
const GAP: usize = 6;

/// The cells of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canvas {
    size: Size,
    ascii: bool,
    cells: Vec<Cell>,
}

impl Canvas {
    /// Creates an empty screen.
    pub fn new(size: Size, ascii: bool) -> Canvas {
        Canvas { size, ascii, cells: vec![BLANK; size.columns * size.rows] }
    }

    /// The whole canvas.
    pub fn area(&self) -> Area {
        Area { row: 0, column: 0, rows: self.size.rows, columns: self.size.columns }
    }

    /// Writes into the first row of `area`, from its column `column`. Returns the column after the text.
    pub fn text(&mut self, area: Area, column: usize, style: Style, text: &str) -> usize {
        let mut at = column;
        for character in text.chars() {
            self.set(area, at, (character, style));
            at += 1;
        }
        at
    }

    /// Writes text that ends before the column `end` of the first row of `area`.
    pub fn right(&mut self, area: Area, end: usize, style: Style, text: &str) {
        let len = text.chars().count();
        match end.checked_sub(len) {
            Some(column) => _ = self.text(area, column, style, text),
            None => _ = self.text(area, 0, style, &text.chars().skip(len - end).collect::<String>()),
        }
    }

    /// Fills an area with blanks in a style.
    pub fn fill(&mut self, area: Area, style: Style) {
        for row in 0..area.rows {
            for column in 0..area.columns {
                self.set(area.line(row), column, (' ', style));
            }
        }
    }

    /// Makes everything in an area dim.
    pub fn dim(&mut self, area: Area) {
        for row in (area.row..area.row + area.rows).take_while(|&row| row < self.size.rows) {
            let start = row * self.size.columns;
            let columns = start + area.column..start + (area.column + area.columns).min(self.size.columns);
            self.cells[columns].iter_mut().for_each(|cell| cell.1 = Style::Dim);
        }
    }

    fn set(&mut self, area: Area, column: usize, cell: Cell) {
        let inside = area.rows > 0 && column < area.columns;
        let (row, column) = (area.row, area.column + column);
        if inside && row < self.size.rows && column < self.size.columns {
            self.cells[row * self.size.columns + column] = (shown(cell.0, self.ascii), cell.1);
        }
    }

    /// Appends the output that changes a terminal from `before` (`None`: unknown content) to this canvas.
    pub fn update(&self, before: Option<&Canvas>, colours: bool, out: &mut Vec<u8>) {
        let before = before.filter(|before| before.size == self.size);
        if before.is_none() {
            out.extend_from_slice(b"\x1b[0m\x1b[2J");
        }
        let mut style = None;
        for row in 0..self.size.rows {
            let range = row * self.size.columns..(row + 1) * self.size.columns;
            let now = &self.cells[range.clone()];
            let old = before.map(|before| &before.cells[range]);
            let same = |column: usize| now[column] == old.map_or(BLANK, |old| old[column]);
            let mut column = 0;
            while column < now.len() {
                if same(column) {
                    column += 1;
                    continue;
                }
                let mut end = column + 1;
                for next in column + 1..now.len() {
                    if !same(next) {
                        end = next + 1;
                    } else if next >= end + GAP {
                        break;
                    }
                }
                out.extend_from_slice(format!("\x1b[{};{}H", row + 1, column + 1).as_bytes());
                for cell in &now[column..end] {
                    if style != Some(cell.1) {
                        style = Some(cell.1);
                        out.extend_from_slice(format!("\x1b[{}m", cell.1.sequence(colours)).as_bytes());
                    }
                    out.extend_from_slice(cell.0.encode_utf8(&mut [0; 4]).as_bytes());
                }
                column = end;
            }
        }
    }

    /// Returns the characters, one line per row, without trailing blanks.
    #[cfg(test)]
    pub fn lines(&self) -> Vec<String> {
        let rows = self.cells.chunks(self.size.columns.max(1));
        rows.map(|row| row.iter().map(|cell| cell.0).collect::<String>().trim_end().to_string()).collect()
    }
}

/// Returns the character to display for another.
fn shown(character: char, ascii: bool) -> char {
    match character {
        ' '..='~' => character,
        // Latin, Greek and Cyrillic letters, and the characters that views use, are one column wide.
        '\u{a1}'..='\u{2ff}' | '\u{370}'..='\u{52f}' | '–' | '…' | '─' | '▁'..='▏' | '░' | '▲' | '▼'
            if !ascii && character != '\u{ad}' =>
        {
            character
        }
        'µ' => 'u',
        '▲' => '^',
        '▼' => 'v',
        '▁' => '_',
        '▂' | '░' => '.',
        '▃' | '·' | '–' | '─' => '-',
        '▄' => ':',
        '▅' | '▉'..='▌' => '=',
        '▆' => '+',
        '▇' => '*',
        '█' => '#',
        '▍'..='▏' => ' ',
        '…' => '~',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(columns: usize, rows: usize) -> Canvas {
        Canvas::new(Size { columns, rows }, false)
    }

    fn update(before: Option<&Canvas>, now: &Canvas) -> String {
        let mut bytes = Vec::new();
        now.update(before, true, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_cropped() {
        let mut canvas = canvas(6, 2);
        let all = canvas.area();
        assert_eq!(canvas.text(all, 4, Style::Plain, "long"), 8);
        canvas.text(all.line(1), 9, Style::Plain, "x");
        canvas.text(all.line(2), 0, Style::Plain, "x");
        canvas.right(all.line(1), 3, Style::Plain, "12345");
        assert_eq!(canvas.lines(), ["    lo", "345"]);
        let (left, right) = all.split_columns(10);
        assert_eq!((left.columns, right.columns), (6, 0));
        canvas.fill(right, Style::Frame);
        assert_eq!(canvas.lines(), ["    lo", "345"]);
    }

    #[test]
    fn only_what_differs_is_sent() {
        let (mut first, empty) = (canvas(20, 3), canvas(20, 3));
        first.text(first.area().line(1), 2, Style::Plain, "ops 100");
        assert_eq!(update(Some(&empty), &first), "\x1b[2;3H\x1b[0mops 100");
        let mut second = first.clone();
        second.text(first.area().line(1), 6, Style::Plain, "105");
        assert_eq!(update(Some(&first), &second), "\x1b[2;9H\x1b[0m5");
        assert_eq!(update(Some(&second), &second), "");
    }

    #[test]
    fn changes_far_apart_are_sent_apart_and_near_ones_together() {
        let before = canvas(30, 1);
        let mut now = before.clone();
        now.text(now.area(), 0, Style::Plain, "a   b");
        now.text(now.area(), 20, Style::Bad, "c");
        assert_eq!(update(Some(&before), &now), "\x1b[1;1H\x1b[0ma   b\x1b[1;21H\x1b[0;1;31mc");
    }

    #[test]
    fn an_unknown_or_resized_screen_is_cleared_first() {
        let mut now = canvas(5, 1);
        now.text(now.area(), 1, Style::Strong, "x");
        for before in [None, Some(canvas(4, 1))] {
            assert_eq!(update(before.as_ref(), &now), "\x1b[0m\x1b[2J\x1b[1;2H\x1b[0;1mx");
        }
    }

    #[test]
    fn a_character_is_one_column_wide_and_ascii_where_it_has_to_be() {
        let shown =
            |ascii: bool| "a\x1b\n漢é·µ▂█▲…\u{301}".chars().map(|c| shown(c, ascii)).collect::<String>();
        assert_eq!(shown(false), "a???é·µ▂█▲…?");
        assert_eq!(shown(true), "a????-u.#^~?");
    }
}
