//! The topology as a picture.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocols::overlay::Role;

use crate::config::{self, Config};

/// Between two processes of a row.
const COLUMN: usize = 150;
/// Between two rows.
const ROW: usize = 130;
/// Between a process and the edge of its host.
const MARGIN: usize = 80;

/// An SVG of the processes: a column a host, leaders above team leaders above workers, an edge a
/// pair of neighbours, coloured by team.
pub fn graph(config: &Config) -> String {
    let mut hosts: Vec<&str> = config.processes.values().map(|p| p.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let places = places(config, &hosts);
    let width = MARGIN + places.values().map(|&(x, _)| x).max().unwrap_or_default();
    let height = 3 * ROW + MARGIN + 20;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"system-ui, sans-serif\" text-anchor=\"middle\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for host in &hosts {
        let columns = places.iter().filter(|(id, _)| config.processes[**id].host == **host);
        let xs: Vec<_> = columns.map(|(_, &(x, _))| x).collect();
        let (least, most) = (xs.iter().min().unwrap_or(&0), xs.iter().max().unwrap_or(&0));
        let _ = writeln!(
            svg,
            "<rect x=\"{}\" y=\"20\" width=\"{}\" height=\"{}\" rx=\"12\" fill=\"#f4f5f7\" \
             stroke=\"#c9ced6\"/>\n<text x=\"{}\" y=\"44\" font-size=\"14\" fill=\"#57606a\">\
             {}</text>",
            least - MARGIN + 8,
            most - least + 2 * MARGIN - 16,
            height - 40,
            usize::midpoint(*least, *most),
            escape(host),
        );
    }
    edges(config, &places, &mut svg);
    for (id, &(x, y)) in &places {
        let process = &config.processes[*id];
        let fill = match process.team.as_str() {
            "green" => "#2da44e",
            "pink" => "#d6409f",
            _ => "#6e7781",
        };
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"28\" fill=\"{fill}\"/>\n<text x=\"{x}\" y=\"{}\" \
             font-size=\"20\" font-weight=\"600\" fill=\"#fff\">{}</text>\n<text x=\"{x}\" \
             y=\"{}\" font-size=\"12\" fill=\"#24292f\" \
             paint-order=\"stroke\" stroke=\"#f4f5f7\" stroke-width=\"5\">{} · {}</text>",
            y + 7,
            escape(id),
            y + 46,
            escape(&process.role.replace('_', " ")),
            process.port,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The centre of each process.
fn places<'a>(config: &'a Config, hosts: &[&str]) -> BTreeMap<&'a str, (usize, usize)> {
    let mut places = BTreeMap::new();
    let mut left = MARGIN;
    for host in hosts {
        let mut in_row = [0; 3];
        for (id, process) in config.processes.iter().filter(|(_, p)| p.host == **host) {
            let row = match config::role(&process.role) {
                Some(Role::Leader) => 0,
                Some(Role::TeamLeader) => 1,
                Some(Role::Worker) | None => 2,
            };
            places.insert(id.as_str(), (left + in_row[row] * COLUMN, 100 + row * ROW));
            in_row[row] += 1;
        }
        left += (in_row.into_iter().max().unwrap_or(1).max(1) - 1) * COLUMN + 2 * MARGIN;
    }
    places
}

fn edges(config: &Config, places: &BTreeMap<&str, (usize, usize)>, svg: &mut String) {
    for (id, process) in &config.processes {
        for neighbour in &process.neighbors {
            let Some(to) = places.get(neighbour.as_str()) else { continue };
            let mutual = config.processes[neighbour].neighbors.contains(id);
            if mutual && neighbour < id {
                continue;
            }
            let from = places[id.as_str()];
            let dash = if mutual { "" } else { " stroke-dasharray=\"6 5\"" };
            let _ = writeln!(
                svg,
                "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#57606a\" \
                 stroke-width=\"2\"{dash}/>",
                from.0, from.1, to.0, to.1
            );
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_and_every_edge_is_drawn_once() {
        let svg = graph(&Config::parse(crate::TWO_HOSTS).unwrap());
        assert_eq!(svg.matches("<circle").count(), 6);
        assert_eq!(svg.matches("<line").count(), 6);
        assert!(svg.contains("192.168.1.2") && !svg.contains("dasharray"));
    }

    #[test]
    fn names_cannot_break_out_of_the_picture() {
        let text = crate::TWO_HOSTS.replace("192.168.1.2", "<script>");
        assert!(!graph(&Config::parse(&text).unwrap()).contains("<script>"));
    }
}
