//! An SVG of the samples: one panel a figure, time to the right.

use std::fmt::Write as _;

use super::sample::Sample;

const WIDTH: f64 = 900.0;
const PANEL: f64 = 180.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 30.0;

/// The whole picture.
pub fn svg(samples: &[Sample]) -> String {
    let height = (PANEL + TOP) * Sample::FIGURES.len() as f64 + TOP;
    let full = WIDTH + LEFT + 20.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {full} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{full}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let seconds = samples.last().map_or(1.0, |last| last.seconds.max(1.0));
    for (number, figure) in Sample::FIGURES.iter().enumerate() {
        let top = TOP + number as f64 * (PANEL + TOP);
        let bottom = top + PANEL;
        let values = || samples.iter().map(figure.of);
        let most = 1.1 * values().fold(1.0, f64::max);
        let y = |value: f64| bottom - value / most * PANEL;
        let _ = writeln!(
            text,
            "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>",
            top - 8.0,
            figure.name
        );
        for share in [0.0, 0.5, 1.0] {
            let (value, at) = (share * most, y(share * most));
            let _ = writeln!(
                text,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                LEFT + WIDTH,
                LEFT - 6.0,
                at + 4.0
            );
        }
        let mut line = String::new();
        for (sample, value) in samples.iter().zip(values()) {
            let _ = write!(
                line,
                "{:.1},{:.1} ",
                LEFT + sample.seconds / seconds * WIDTH,
                y(value)
            );
        }
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6f8b\" stroke-width=\"1.5\"/>",
            line.trim_end()
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{LEFT}\" y=\"{}\">0</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.2} h</text>\n</svg>",
        height - 12.0,
        LEFT + WIDTH,
        height - 12.0,
        seconds / 3_600.0
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_line_with_a_point_for_each_sample() {
        let samples = [Sample::default(); 7];
        let svg = svg(&samples);
        let lines: Vec<&str> = svg.split("points=\"").skip(1).collect();
        assert_eq!(lines.len(), Sample::FIGURES.len());
        for line in lines {
            let points = line.split('"').next().unwrap_or_default();
            assert_eq!(points.split(' ').count(), 7, "{points}");
        }
    }
}
