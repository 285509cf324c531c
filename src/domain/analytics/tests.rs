//! The pure figures against published numbers, and against what must hold of any input.

mod calendar;
mod cohorts;
mod models;
mod rfm;
