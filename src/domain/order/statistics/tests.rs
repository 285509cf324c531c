//! Statistics as tables.
