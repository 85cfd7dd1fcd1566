//! Draws the plots as SVG. Each has a white background, so that it can be read on a dark page too.

use std::path::Path;

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, TextStyle, WHITE};

use crate::row::Row;
use crate::run::Curve;
use crate::table::{number, subject};
use crate::turns::float;

const GOOD: RGBColor = RGBColor(38, 122, 72);
const SHORT: RGBColor = RGBColor(196, 78, 20);
const INK: RGBColor = RGBColor(40, 40, 40);
const LINE: RGBColor = RGBColor(200, 200, 200);
const COLORS: [RGBColor; 2] = [RGBColor(31, 98, 166), SHORT];

const WIDTH: i32 = 900;
const TOP: i32 = 64;
const BAR: i32 = 18;
const LABELS: i32 = 470;
/// The bars are drawn between these factors of the goal.
const SCORES: (f64, f64) = (0.1, 100.0);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A bar for each row with a goal, on a logarithmic axis: from 1, which is just enough, to the score of the row.
pub(crate) fn goals(file: &Path, title: &str, rows: &[&Row]) {
    let bars: Vec<(&Row, f64)> = rows.iter().filter_map(|row| Some((*row, row.score()?))).collect();
    let height = TOP + BAR * i32::try_from(bars.len()).unwrap() + 16;
    let area = canvas(file, height);
    text(&area, &format!("{title}: ratio / goal, or limit / figure"), (12, 24), 16, HPos::Left);
    for (tick, color) in [(0.1, LINE), (1.0, INK), (10.0, LINE), (100.0, LINE)] {
        let x = score_x(tick);
        line(&area, &[(x, TOP - 8), (x, height - 12)], color);
        text(&area, &format!("{tick}"), (x, TOP - 16), 11, HPos::Center);
    }
    for (at, (row, score)) in bars.iter().enumerate() {
        let y = TOP + BAR * i32::try_from(at).unwrap();
        let (from, to) = (score_x(1.0), score_x(*score));
        let color = if row.shortfall().is_none() { GOOD } else { SHORT };
        let corners = [(from.min(to), y + 3), (from.max(to), y + BAR - 3)];
        area.draw(&Rectangle::new(corners, color.filled())).unwrap();
        text(&area, &label(row), (LABELS - 50, y + BAR / 2), 11, HPos::Right);
        text(&area, &number(*score), (LABELS - 8, y + BAR / 2), 11, HPos::Right);
    }
    area.present().unwrap();
}

/// What a bar stands for, if it fits.
fn label(row: &Row) -> String {
    let whole = subject(row);
    whole.chars().take(72).collect()
}

/// The place of a score on the axis.
fn score_x(score: f64) -> i32 {
    let (least, most) = SCORES;
    let share = (score.clamp(least, most) / least).log10() / (most / least).log10();
    LABELS + pixels(share * f64::from(WIDTH - LABELS - 20))
}

/// A line for each curve, both axes logarithmic or from zero.
pub(crate) fn growth(file: &Path, curves: &[Curve]) {
    const HEIGHT: i32 = 360;
    const LEFT: i32 = 90;
    let area = canvas(file, HEIGHT);
    text(&area, "Requests per second over plain HTTP, 16 connections", (12, 24), 16, HPos::Left);
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let highest = points().map(|(_, rate)| rate).fold(1.0, f64::max);
    // The step of the axis is 1, 2 or 5 times a power of ten, with about five lines.
    let power = 10_f64.powf((highest / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| highest / step <= 5.5).unwrap_or(power);
    let top = (highest / step).ceil() * step;
    let place = |(keys, rate): (usize, f64)| {
        let across = (float(keys).log10() - 3.0) / 3.0;
        let x = LEFT + 20 + pixels(across * f64::from(WIDTH - LEFT - 160));
        (x, HEIGHT - 50 - pixels(rate / top * f64::from(HEIGHT - 110)))
    };
    let mut level = 0.0;
    while level <= top {
        let (_, y) = place((1_000, level));
        line(&area, &[(LEFT, y), (WIDTH - 120, y)], LINE);
        text(&area, &number(level).replace("0.00", "0"), (LEFT - 8, y), 11, HPos::Right);
        level += step;
    }
    for keys in [1_000, 10_000, 100_000, 1_000_000] {
        text(&area, &format!("{} keys", number(float(keys))), (place((keys, 0.0)).0, HEIGHT - 30), 11, HPos::Center);
    }
    for (curve, color) in curves.iter().zip(COLORS) {
        let path: Vec<(i32, i32)> = curve.points.iter().map(|point| place(*point)).collect();
        area.draw(&PathElement::new(path.clone(), color.stroke_width(2))).unwrap();
        for point in &path {
            area.draw(&Circle::new(*point, 3, color.filled())).unwrap();
        }
        if let Some((x, y)) = path.last() {
            text(&area, curve.name, (x + 10, *y), 12, HPos::Left);
        }
    }
    area.present().unwrap();
}

fn canvas(file: &Path, height: i32) -> Area<'_> {
    let size = (u32::try_from(WIDTH).unwrap(), u32::try_from(height).unwrap());
    let area = SVGBackend::new(file, size).into_drawing_area();
    area.fill(&WHITE).unwrap();
    area
}

fn line(area: &Area<'_>, points: &[(i32, i32)], color: RGBColor) {
    area.draw(&PathElement::new(points.to_vec(), color)).unwrap();
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, to: HPos) {
    let style = TextStyle::from(("sans-serif", size).into_font()).color(&INK).pos(Pos::new(to, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).unwrap();
}

#[expect(clippy::cast_possible_truncation, reason = "pixels of a small picture")]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}
