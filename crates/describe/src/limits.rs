//! Bounds of what is printed.

/// Columns of a table in text; a list that is wider is printed entry by entry.
pub const TABLE_COLUMNS: usize = 118;
