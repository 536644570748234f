//! Figures of bursts of several sizes: as curves, and the two ends of them as series.

use std::collections::BTreeMap;

use crate::bench::results::{Curve, Series, Table};

/// The metric of a burst of so many.
pub(super) fn at(metric: &str, size: u32) -> String {
    format!("{metric}@{size}")
}

fn size_of(series: &Series) -> Option<(&str, u32)> {
    let (metric, size) = series.metric.split_once('@')?;
    Some((metric, size.parse().ok()?))
}

/// Makes curves of the series' medians, and leaves the series of one instance and of the most that all
/// contenders reached, which are called `latency_of_32`.
pub(super) fn take_curves(table: &mut Table, ends: &BTreeMap<String, String>) {
    let mut curves: Vec<Curve> = Vec::new();
    let mut largest: BTreeMap<&str, u32> = BTreeMap::new();
    for series in &table.series {
        let (Some((metric, size)), Some(summary)) = (size_of(series), &series.summary) else {
            continue;
        };
        let reached = largest.entry(&series.contender).or_default();
        *reached = size.max(*reached);
        let point = (size, summary.median.value);
        let known = curves
            .iter_mut()
            .find(|curve| curve.contender == series.contender && curve.metric == metric);
        match known {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve {
                contender: series.contender.clone(),
                metric: metric.to_owned(),
                unit: series.unit,
                points: vec![point],
                end: ends.get(&series.contender).cloned().unwrap_or_default(),
            }),
        }
    }
    curves.iter_mut().for_each(|curve| curve.points.sort_unstable_by_key(|(size, _)| *size));
    let common = largest.values().min().copied().unwrap_or(1);
    table
        .series
        .retain(|series| size_of(series).is_some_and(|(_, size)| size == 1 || size == common));
    for series in &mut table.series {
        series.metric = series.metric.replace('@', "_of_");
    }
    table.curves.extend(curves);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::{Case, Place, Unit};
    use crate::bench::rounds::summarize;

    #[test]
    fn ends_stay_series_and_all_are_curves() {
        let series = |contender: &str, size: u32| Series {
            contender: contender.into(),
            metric: at("latency", size),
            unit: Unit::Milliseconds,
            samples: vec![Some(f64::from(size)), Some(f64::from(size) + 2.0)],
            summary: None,
            ratio: None,
        };
        let mut all: Vec<Series> = [1, 2, 4].map(|size| series("a", size)).into();
        all.extend([1, 2].map(|size| series("b", size)));
        summarize(&mut all, Some("a"), 1);
        let mut table = Table {
            id: "density.host".into(),
            case: Case::Density,
            title: String::new(),
            place: Place::Host,
            how: String::new(),
            baseline: None,
            series: all,
            timelines: Vec::new(),
            curves: Vec::new(),
            findings: Vec::new(),
            failures: Vec::new(),
        };
        let ends = BTreeMap::from([("b".to_owned(), "no room".to_owned())]);
        take_curves(&mut table, &ends);
        let points: Vec<_> = table.curves.iter().map(|curve| curve.points.clone()).collect();
        assert_eq!(points, [vec![(1, 2.0), (2, 3.0), (4, 5.0)], vec![(1, 2.0), (2, 3.0)]]);
        assert_eq!(table.curves[1].end, "no room");
        let metrics: Vec<_> = table.series.iter().map(|one| one.metric.as_str()).collect();
        assert_eq!(metrics, ["latency_of_1", "latency_of_2", "latency_of_1", "latency_of_2"]);
    }
}
