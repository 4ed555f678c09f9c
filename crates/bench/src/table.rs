//! Tables of figures, as the benchmarks print them.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

/// Without lines; the first column names its row, the others hold figures.
pub(crate) fn with_header(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
