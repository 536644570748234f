//! Tables and paragraphs as HTML.

use super::escape;

/// A cell of a table.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// What the row is about.
    Head(String),
    /// Words.
    Text(String),
    /// Figures, on the right.
    Figure(String),
}

/// How a table behaves where it is wider than the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Narrow {
    /// It moves in a box of its own.
    Scroll,
    /// Its cells stand below each other, each with its column's name.
    Stack,
}

/// A table that is being written.
pub(super) struct Table<'a> {
    page: &'a mut String,
    columns: Vec<String>,
}

impl<'a> Table<'a> {
    /// Begins one. `id` is unique in the page.
    pub(super) fn begin(
        page: &'a mut String,
        id: &str,
        caption: &str,
        narrow: Narrow,
        columns: &[(&str, bool)],
    ) -> Self {
        let class = if narrow == Narrow::Stack { "scroll stack" } else { "scroll" };
        page.push_str(&format!(
            "<div class=\"{class}\" role=\"region\" tabindex=\"0\" aria-labelledby=\"{id}\">\n\
             <table role=\"table\">\n<caption id=\"{id}\"><span>{}</span></caption>\n<thead role=\"rowgroup\"><tr role=\"row\">",
            escape(caption)
        ));
        for (column, is_figure) in columns {
            let class = if *is_figure { " class=\"n\"" } else { "" };
            page.push_str(&format!(
                "<th scope=\"col\" role=\"columnheader\"{class}>{}</th>",
                escape(column)
            ));
        }
        page.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
        let columns = columns.iter().map(|(column, _)| escape(column)).collect();
        Self { page, columns }
    }

    /// A heading over the rows that follow.
    pub(super) fn group(&mut self, heading: &str) {
        let columns = self.columns.len();
        self.page.push_str(&format!(
            "</tbody>\n<tbody role=\"rowgroup\"><tr role=\"row\"><th scope=\"rowgroup\" role=\"rowheader\" \
             colspan=\"{columns}\">{}</th></tr>\n",
            escape(heading)
        ));
    }

    pub(super) fn row(&mut self, cells: &[Cell]) {
        self.page.push_str("<tr role=\"row\">");
        for (cell, column) in cells.iter().zip(&self.columns) {
            let cell = match cell {
                Cell::Head(text) => {
                    format!("<th scope=\"row\" role=\"rowheader\">{}</th>", escape(text))
                }
                Cell::Text(text) => {
                    format!(
                        "<td class=\"text\" role=\"cell\" data-label=\"{column}\">{}</td>",
                        escape(text)
                    )
                }
                Cell::Figure(text) => {
                    format!(
                        "<td class=\"n\" role=\"cell\" data-label=\"{column}\">{}</td>",
                        escape(text)
                    )
                }
            };
            self.page.push_str(&cell);
        }
        self.page.push_str("</tr>\n");
    }

    pub(super) fn end(self) {
        self.page.push_str("</tbody></table></div>\n");
    }
}

/// Text as paragraphs: an empty line parts them.
pub(super) fn paragraphs(page: &mut String, text: &str) {
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        page.push_str(&format!("<p>{}</p>\n", escape(paragraph.trim())));
    }
}

/// A picture with what there is to say about it.
pub(super) fn figure(page: &mut String, picture: &str, caption: &str) {
    page.push_str(&format!(
        "<figure>\n{picture}<figcaption>{}</figcaption>\n</figure>\n",
        escape(caption)
    ));
}
