//! Figures as pictures: SVG text, readable on a light and on a dark ground, with a title and a
//! description for who cannot see it. No script, no font, nothing from elsewhere.
//!
//! The crate writes colours as attributes, which a style sheet overrules: the dark scheme is a list of
//! such rules. It escapes what is in texts; title and description are escaped here.

use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fmt::Write as _;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 420;

const GROUND: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(31, 41, 51);
const GRID: RGBColor = RGBColor(217, 222, 228);
/// Told apart by those who do not see red and green, too (after Okabe and Ito).
const SERIES: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Each colour on a light ground, and what it is on a dark one.
const DARK: [(&str, &str); 6] = [
    ("#FFFFFF", "#11161C"),
    ("#1F2933", "#E6EBF0"),
    ("#D9DEE4", "#38424D"),
    ("#0072B2", "#56B4E9"),
    ("#D55E00", "#F0924A"),
    ("#009E73", "#3ECFA4"),
];

const FONT: &str = "system-ui, sans-serif";

/// What is drawn, and how it is told to those who cannot see it.
pub struct Plot<'a> {
    pub title: &'a str,
    pub description: &'a str,
}

/// One row of numbers over the pieces of a range.
pub struct Series<'a> {
    pub name: &'a str,
    pub values: Vec<f64>,
}

impl Plot<'_> {
    /// Bars side by side, one for each series at each label.
    pub fn bars(&self, labels: &[String], series: &[Series<'_>]) -> String {
        self.drawn(HEIGHT, |canvas| {
            let most = series.iter().flat_map(|one| &one.values).copied().fold(1.0, f64::max);
            let count = labels.len().max(1);
            let mut chart = ChartBuilder::on(canvas)
                .margin(16)
                .margin_top(44)
                .x_label_area_size(36)
                .y_label_area_size(84)
                .build_cartesian_2d(0.0..count as f64, 0.0..most * 1.05)?;
            // A label belongs to the middle of its piece; the axis asks for places from 0.
            let label = |place: &f64| {
                labels.get(place.floor() as usize).filter(|_| place.fract() == 0.0).cloned()
            };
            chart
                .configure_mesh()
                .disable_x_mesh()
                .bold_line_style(GRID)
                .light_line_style(TRANSPARENT)
                .axis_style(INK)
                .label_style((FONT, 14, &INK))
                .x_labels(count.min(8) + 1)
                .y_labels(6)
                .x_label_formatter(&|place| label(place).unwrap_or_default())
                .y_label_formatter(&|value| short(*value))
                .draw()?;
            let width = 0.8 / series.len().max(1) as f64;
            for (number, one) in series.iter().enumerate() {
                let style = SERIES[number % SERIES.len()].filled();
                let bar = |(place, value): (usize, &f64)| {
                    let left = place as f64 + 0.1 + width * number as f64;
                    Rectangle::new([(left, 0.0), (left + width, *value)], style)
                };
                chart.draw_series(one.values.iter().enumerate().map(bar))?;
            }
            legend(canvas, series.iter().map(|one| one.name))
        })
    }

    /// One bar a line, from the left, each with its number behind it.
    pub fn rows(&self, rows: &[(String, f64, String)]) -> String {
        let height = 64 + 30 * rows.len() as u32;
        self.drawn(height, |canvas| {
            let most = rows.iter().map(|(_, value, _)| *value).fold(1.0, f64::max);
            let (left, room) = (200, f64::from(WIDTH) - 200.0 - 240.0);
            for (number, (label, value, told)) in rows.iter().enumerate() {
                let top = 52 + 30 * number as i32;
                let end = left + (room * value / most).round() as i32;
                write(canvas, label, (left - 12, top + 11), HPos::Right)?;
                let bar = [(left, top), (end.max(left + 1), top + 22)];
                canvas.draw(&Rectangle::new(bar, SERIES[0].filled()))?;
                write(canvas, told, (end + 10, top + 11), HPos::Left)?;
            }
            Ok(())
        })
    }

    /// A table whose cells are the darker the more is in them; shares from 0 to 1.
    pub fn heat(&self, columns: &[String], rows: &[(String, Vec<(f64, String)>)]) -> String {
        let height = 92 + 26 * rows.len().max(1) as u32;
        self.drawn(height, |canvas| {
            let left = 170;
            let width = ((WIDTH as i32 - left - 16) / columns.len().max(1) as i32).min(64);
            for (number, column) in columns.iter().enumerate() {
                let middle = left + width * number as i32 + width / 2;
                write(canvas, column, (middle, 62), HPos::Center)?;
            }
            for (number, (label, cells)) in rows.iter().enumerate() {
                let top = 76 + 26 * number as i32;
                write(canvas, label, (left - 12, top + 12), HPos::Right)?;
                for (place, (share, told)) in cells.iter().enumerate() {
                    let at = left + width * place as i32;
                    let cell = [(at, top), (at + width - 2, top + 24)];
                    let colour = SERIES[0].mix(0.08 + 0.52 * share.clamp(0.0, 1.0));
                    canvas.draw(&Rectangle::new(cell, colour.filled()))?;
                    // narrower cells would not hold their numbers
                    if width >= 34 {
                        write(canvas, told, (at + width / 2 - 1, top + 12), HPos::Center)?;
                    }
                }
            }
            Ok(())
        })
    }

    fn drawn(&self, height: u32, draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> String {
        let mut text = String::new();
        let done = {
            let canvas = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
            canvas
                .fill(&GROUND)
                .and_then(|()| write_in(&canvas, self.title, (20, 20), HPos::Left, 20.0))
                .and_then(|()| draw(&canvas))
                .and_then(|()| canvas.present())
        };
        if let Err(error) = done {
            // Drawing into a text cannot fail but by a mistake of ours; what is drawn so far is whole.
            tracing::error!(%error, "a plot is not complete");
        }
        self.told(&text)
    }

    /// With what the crate does not write.
    fn told(&self, svg: &str) -> String {
        let mut style = String::new();
        for (light, dark) in DARK {
            let _ = write!(
                style,
                "[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}"
            );
        }
        let head = format!(
            "<title id=\"title\">{}</title>\n<desc id=\"description\">{}</desc>\n\
             <style>@media (prefers-color-scheme:dark){{{style}}}</style>\n",
            escaped(self.title),
            escaped(self.description)
        );
        let svg =
            svg.replacen("<svg ", "<svg role=\"img\" aria-labelledby=\"title description\" ", 1);
        svg.replacen(">\n", &format!(">\n{head}"), 1)
    }
}

fn legend<'a>(canvas: &Canvas<'_>, names: impl Iterator<Item = &'a str>) -> Drawn {
    let mut right = WIDTH as i32 - 24;
    let names: Vec<_> = names.enumerate().collect();
    for (number, name) in names.into_iter().rev() {
        right -= 9 * name.chars().count() as i32;
        write(canvas, name, (right, 22), HPos::Left)?;
        let colour = SERIES[number % SERIES.len()].filled();
        canvas.draw(&Rectangle::new([(right - 20, 15), (right - 6, 29)], colour))?;
        right -= 44;
    }
    Ok(())
}

fn write(canvas: &Canvas<'_>, text: &str, at: (i32, i32), anchor: HPos) -> Drawn {
    write_in(canvas, text, at, anchor, 16.0)
}

fn write_in(canvas: &Canvas<'_>, text: &str, at: (i32, i32), anchor: HPos, size: f64) -> Drawn {
    let style = TextStyle::from((FONT, size)).color(&INK).pos(Pos::new(anchor, VPos::Center));
    canvas.draw(&Text::new(text.to_owned(), at, style))
}

/// As XML holds it; what XML 1.0 cannot hold at all is left out.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => {}
            sign if sign.is_control() && !matches!(sign, '\t' | '\n' | '\r') => {}
            sign => safe.push(sign),
        }
    }
    safe
}

/// A number for an axis: 1 200 is `1.2k`.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLOT: Plot<'_> = Plot { title: "A & B < C", description: "\"x\" is 'y' > \u{1}z" };

    #[test]
    fn pictures_are_titled_and_escaped() {
        let labels: Vec<String> = (1..=31).map(|day| format!("{day}. <Jan>")).collect();
        let series = [
            Series { name: "one & only", values: vec![1.0; 31] },
            Series { name: "two", values: (0..31).map(f64::from).collect() },
        ];
        let cell = |share| (share, format!("{:.0} %", share * 100.0));
        let pictures = [
            PLOT.bars(&labels, &series),
            PLOT.bars(&[], &[]),
            PLOT.rows(&[("a<b".into(), 3.0, "3 & more".into()), ("none".into(), 0.0, "0".into())]),
            PLOT.rows(&[]),
            PLOT.heat(&["0".into(), "1".into()], &[("<m>".into(), vec![cell(1.0), cell(0.25)])]),
            PLOT.heat(&[], &[]),
        ];
        for svg in pictures {
            assert!(
                svg.starts_with("<svg role=\"img\" aria-labelledby=\"title description\" "),
                "{svg}"
            );
            assert!(svg.contains("<title id=\"title\">A &amp; B &lt; C</title>"), "{svg}");
            assert!(svg.contains("&quot;x&quot; is &apos;y&apos; &gt; z</desc>"), "{svg}");
            assert!(svg.contains("prefers-color-scheme:dark"));
            assert!(svg.trim_end().ends_with("</svg>"));
            for raw in ["<Jan>", "<m>", "a<b", "3 & more", "one & only"] {
                assert!(!svg.contains(raw), "{raw} in {svg}");
            }
            let (opened, closed) = (svg.matches("<text").count(), svg.matches("</text>").count());
            assert_eq!(opened, closed);
        }
    }

    #[test]
    fn every_colour_that_is_drawn_has_a_dark_one() {
        for colour in [GROUND, INK, GRID, SERIES[0], SERIES[1], SERIES[2]] {
            let RGBColor(red, green, blue) = colour;
            let text = format!("#{red:02X}{green:02X}{blue:02X}");
            assert!(DARK.iter().any(|(light, _)| *light == text), "{text}");
        }
    }

    #[test]
    fn numbers_of_axes_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (12.0, "12"),
            (9_999.0, "9999"),
            (12_000.0, "12k"),
            (1.25e6, "1.2M"),
            (3e9, "3G"),
        ] {
            assert_eq!(short(value), expected);
        }
    }
}
