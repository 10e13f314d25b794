//! An SVG of the rows: a panel for what is counted alike, a bar a candidate.

use std::fmt::Write as _;

use super::table::{Row, median, short};

const LEFT: f64 = 430.0;
const WIDTH: f64 = 430.0;
const RIGHT: f64 = 140.0;
const BAR: f64 = 16.0;
const STEP: f64 = 24.0;
const HEAD: f64 = 44.0;

/// The whole picture of these parts, each with its title.
pub fn svg(parts: &[(&str, Vec<Row>)]) -> String {
    let full = LEFT + WIDTH + RIGHT;
    let (mut body, mut y) = (String::new(), 8.0);
    for (title, rows) in parts {
        for (number, panel) in panels(rows).iter().enumerate() {
            let title = if number == 0 { title } else { "" };
            y = draw(&mut body, y, title, panel);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {full} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#222\">\n<rect width=\"{full}\" height=\"{height}\" fill=\"white\"/>\n{body}</svg>\n",
        height = y + 8.0
    )
}

/// Rows that are counted in the same unit, in their order.
fn panels(rows: &[Row]) -> Vec<Vec<&Row>> {
    let mut panels: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        // The same figures against something else are no bar of their own.
        let drawn = |other: &&Row| other.what == row.what && other.figures == row.figures;
        match panels
            .iter_mut()
            .find(|panel| panel.first().is_some_and(|first| first.what == row.what))
        {
            Some(panel) if panel.iter().any(drawn) => {}
            Some(panel) => panel.push(row),
            None => panels.push(vec![row]),
        }
    }
    panels
}

/// Draws one panel from `top` on; returns where it ends.
fn draw(body: &mut String, top: f64, title: &str, rows: &[&Row]) -> f64 {
    let what = rows.first().map_or("", |row| row.what);
    let _ = writeln!(
        body,
        "<text x=\"8\" y=\"{:.0}\" font-weight=\"bold\">{}</text><text x=\"{LEFT}\" y=\"{:.0}\" fill=\"#666\">{}</text>",
        top + 16.0,
        escaped(title),
        top + 36.0,
        escaped(what),
    );
    let bounds = rows.iter().filter_map(|row| row.bounds());
    let longest = bounds.fold(f64::MIN_POSITIVE, |longest, (_, most)| longest.max(most));
    for (number, row) in rows.iter().enumerate() {
        let y = top + HEAD + number as f64 * STEP;
        let Some((middle, (least, most))) = median(&row.figures).zip(row.bounds()) else {
            continue;
        };
        let x = |figure: f64| LEFT + figure / longest * WIDTH;
        let colour = match row.who.starts_with("outflow") || !row.target.is_empty() {
            true => "#1f6f8b",
            false => "#b8b8b8",
        };
        let peak = match row.peak_mib {
            0.0 => String::new(),
            peak => format!(", {peak:.0} MiB"),
        };
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{mid:.1}\" y2=\"{mid:.1}\" stroke=\"#222\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}{peak}</text>",
            LEFT - 8.0,
            y + 12.5,
            escaped(&row.who),
            x(middle) - LEFT,
            x(least),
            x(most),
            x(most) + 8.0,
            y + 12.5,
            short(middle),
            mid = y + BAR / 2.0,
        );
    }
    top + HEAD + rows.len() as f64 * STEP + 10.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_candidate_has_a_bar_as_long_as_its_median() {
        let mut kcat = Row::new("kcat <1>", "s", "");
        kcat.figures = vec![1.0, 2.0, 1.5];
        let mut outflow = Row::new("outflow", "s", "").against(&kcat);
        outflow.figures = vec![3.0, 3.0, 3.0];
        let mut again = outflow.clone();
        again.who = "outflow, held against something else".into();
        let svg = svg(&[("part", vec![kcat, outflow, again])]);
        let bars: Vec<&str> = svg.split("<rect x=").skip(1).collect();
        assert_eq!(bars.len(), 2, "the same figures are drawn once");
        let width = |bar: &str| -> f64 {
            let (_, rest) = bar.split_once("width=\"").unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        assert!((width(bars[0]) - WIDTH / 2.0).abs() < 0.1);
        assert!((width(bars[1]) - WIDTH).abs() < 0.1);
        assert!(svg.contains("kcat &lt;1>"));
    }
}
