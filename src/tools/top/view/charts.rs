//! Figures with their history.

use super::super::canvas::{Area, Canvas, Style};
use super::super::history::Series;
use super::super::state::State;
use super::format;

/// Eighths of a cell, filled from the bottom.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The column where the history begins in a one-line chart, and in a taller one.
const LOW_GUTTER: usize = 19;
const HIGH_GUTTER: usize = 16;
/// The columns between charts.
const SPACE: usize = 2;

struct Chart<'a> {
    label: &'static str,
    value: Option<f64>,
    style: Style,
    series: &'a Series,
    /// The minimum value at the top of the chart.
    scale: f32,
    text: fn(f64) -> String,
}

/// Draws the charts at the top of an area, only two of them if it is small. Returns the rest of the area.
pub fn draw(state: &State, canvas: &mut Canvas, area: Area, small: bool) -> Area {
    let charts = charts(state);
    let across = match area.columns {
        0..60 => 1,
        60..130 => 2,
        _ => 3,
    };
    let height = match area.rows {
        0..30 => 1,
        30..40 => 2,
        40..50 => 3,
        _ => 4,
    };
    let count = if small { 2 } else { charts.len() };
    let gap = usize::from(height > 1);
    let lines = count.div_ceil(across);
    let (all, rest) = area.split_rows(lines * (height + gap) - gap);
    let columns = (all.columns + SPACE) / across - SPACE;
    for (index, chart) in charts.iter().take(count).enumerate() {
        let below = all.split_rows(index / across * (height + gap)).1.split_rows(height).0;
        let cell = below.split_columns(index % across * (columns + SPACE)).1.split_columns(columns).0;
        draw_one(canvas, cell, chart);
    }
    rest
}

fn charts(state: &State) -> [Chart<'_>; 6] {
    let (history, rates) = (&state.history, state.rates.as_ref());
    let cpu = rates.map(|rates| rates.cpu_percent);
    let chart = |label, value: Option<f64>, series, text| Chart {
        label,
        value,
        style: Style::Strong,
        series,
        scale: 0.0,
        text,
    };
    let rate = |text: fn(f64) -> String| text;
    [
        chart("ops/s", rates.map(|r| r.ops), &history.ops, rate(format::count)),
        Chart {
            scale: 100.0,
            ..chart("hits", rates.and_then(|r| r.hit_percent), &history.hit_percent, format::percent)
        },
        chart("latency", rates.and_then(|r| r.usec_per_call), &history.usec_per_call, format::micros),
        Chart {
            scale: 100.0,
            style: if cpu.is_some_and(|cpu| cpu >= 90.0) { Style::Warning } else { Style::Strong },
            ..chart("cpu", cpu, &history.cpu_percent, format::percent)
        },
        chart("in", rates.map(|r| r.input_bytes), &history.input_bytes, bytes_a_second),
        chart("out", rates.map(|r| r.output_bytes), &history.output_bytes, bytes_a_second),
    ]
}

fn bytes_a_second(value: f64) -> String {
    format!("{}/s", format::bytes(value))
}

fn draw_one(canvas: &mut Canvas, area: Area, chart: &Chart) {
    let value = chart.value.map_or("–".to_string(), chart.text);
    canvas.text(area, 1, Style::Label, chart.label);
    if area.rows <= 1 {
        canvas.right(area, LOW_GUTTER - 1, chart.style, &value);
        history(canvas, area.split_columns(LOW_GUTTER).1, chart.series, chart.scale);
        return;
    }
    canvas.text(area.line(1), 1, chart.style, &value);
    let picture = area.split_columns(HIGH_GUTTER).1;
    if area.rows > 2 && chart.value.is_some() {
        let most = format!("max {}", (chart.text)(f64::from(chart.series.max(picture.columns))));
        canvas.text(area.line(2).split_columns(HIGH_GUTTER).0, 1, Style::Dim, &most);
    }
    history(canvas, picture, chart.series, chart.scale);
}

/// Draws the latest figures as bars from the right end of an area, the newest last. The largest one, or `scale` if that
/// is more, is as high as the area, or slightly lower in a single row, so that rows do not touch. Every figure above 0
/// has a visible bar.
pub fn history(canvas: &mut Canvas, area: Area, series: &Series, scale: f32) {
    let values = series.last(area.columns);
    let top = series.max(area.columns).max(scale);
    let whole = if area.rows == 1 { 7 } else { area.rows * 8 };
    let first = area.columns - values.clone().count();
    for (index, value) in values.enumerate() {
        if value.is_nan() {
            continue;
        }
        let part = if top > 0.0 { (value / top * whole as f32).round() as usize } else { 0 };
        let eighths = part.max(usize::from(value > 0.0)).min(whole);
        for row in 0..area.rows {
            let below = (area.rows - 1 - row) * 8;
            let block = BLOCKS[eighths.saturating_sub(below).min(8)];
            if block != ' ' {
                canvas.text(area.line(row), first + index, Style::Chart, &block.to_string());
            } else if row + 1 == area.rows {
                canvas.text(area.line(row), first + index, Style::Dim, "▁");
            }
        }
    }
}

/// Draws a bar for a share, from 0 to 1; a full one is as wide as the area.
pub fn bar(canvas: &mut Canvas, area: Area, share: f64, style: Style) {
    const PARTS: [char; 8] = ['░', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * area.columns as f64 * 8.0).round() as usize;
    for column in 0..area.columns {
        match eighths.saturating_sub(column * 8) {
            0 => _ = canvas.text(area, column, Style::Dim, "░"),
            part @ 1..8 => _ = canvas.text(area, column, style, &PARTS[part].to_string()),
            _ => _ = canvas.text(area, column, style, "█"),
        }
    }
}
