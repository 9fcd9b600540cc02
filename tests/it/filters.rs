//! A look-up by id opens the indexes of segments that may have the id, where a day has many; and finds the same without that.

use crate::common::*;
use crate::segments::traffic;
use indelible_collector::seal::segments_dir;
use indelible_collector::store::Store;
use indelible_collector::store::filters::{Filters, SEGMENTS_MIN};
use indelible_collector::store::local::LocalStorage;
use indelible_collector::{Collector, Config, Query};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A day of segments, and the ids of the events in each.
fn recorded() -> (Site, Vec<Vec<String>>) {
    let site = Site::new();
    let ids = (0..SEGMENTS_MIN + 2).map(|_| {
        let ids = traffic(&site, 2);
        site.json(&["seal", "--json"]);
        ids
    });
    let ids = ids.collect();
    (site, ids)
}

fn segments_of(site: &Site, tenant: &str) -> Vec<PathBuf> {
    let mut dirs: Vec<_> = files_below(&segments_dir(&site.data).join(format!("tenant={tenant}")))
        .into_iter()
        .filter(|path| path.ends_with("segment.json"))
        .map(|path| path.parent().unwrap().to_owned())
        .collect();
    dirs.sort();
    dirs
}

fn filters(data: &Path) -> Vec<PathBuf> {
    files_below(&data.join("cache/filters"))
}

/// As at the end of the day.
fn make_all(data: &Path) -> usize {
    let store = Store::open(Arc::new(LocalStorage::existing(&segments_dir(data)))).unwrap();
    let filters = Filters::new(data);
    let mut made = 0;
    while filters.make_next(&store.view(), "9999-12-31").unwrap() {
        made += 1;
    }
    made
}

fn found(site: &Site, id: &str) -> Result<usize, String> {
    let collector = Collector::start(Config::new(&site.data)).unwrap();
    let query = Query { id: Some(id.to_owned()), tenant: Some("default".to_owned()), ..Query::default() };
    let found = collector.list(&query, 10).map(|found| found.len()).map_err(|error| error.to_string());
    collector.stop().unwrap();
    found
}

#[test]
fn segments_that_cannot_have_an_id_are_not_opened_for_it() {
    let (site, ids) = recorded();
    let dirs = segments_of(&site, "default");
    assert_eq!(dirs.len(), ids.len());
    let store = Store::open(Arc::new(LocalStorage::existing(&segments_dir(&site.data)))).unwrap();
    assert!(!Filters::new(&site.data).make_next(&store.view(), "2000-01-01").unwrap(), "no day is over");
    assert_eq!(filters(&site.data).len(), 0);
    assert_eq!(make_all(&site.data), 2, "one of each ledger");
    assert_eq!(make_all(&site.data), 0, "they are there");

    // Files of the other segments are out of reach.
    let wanted = &ids[4][1];
    for dir in dirs.iter().enumerate().filter(|(number, _)| *number != 4).map(|(_, dir)| dir) {
        for name in ["ids.idx", "entries.parquet"] {
            std::fs::remove_file(dir.join(name)).unwrap();
        }
    }
    assert_eq!(found(&site, wanted), Ok(1));
    assert_eq!(found(&site, "019ab2c3-1111-7abc-8def-0123456789ab"), Ok(0), "nor for what nobody has");
    // It is the filter that spared them.
    std::fs::remove_dir_all(site.data.join("cache/filters")).unwrap();
    assert!(found(&site, wanted).is_err());
}

#[test]
fn a_filter_that_is_damaged_gone_or_old_hides_nothing() {
    let (site, mut ids) = recorded();
    make_all(&site.data);
    // Of the same day, and not in the filter.
    ids.push(traffic(&site, 2));
    site.json(&["seal", "--json"]);
    let all = |what: &str| {
        let collector = Collector::start(Config::new(&site.data)).unwrap();
        for id in ids.iter().flatten() {
            let query =
                Query { id: Some(id.clone()), tenant: Some("default".to_owned()), ..Query::default() };
            assert_eq!(collector.list(&query, 10).unwrap().len(), 1, "{what}: {id}");
        }
        collector.stop().unwrap();
    };
    all("a segment more");
    assert_eq!(make_all(&site.data), 2, "they are made again");
    all("made again");
    let path =
        filters(&site.data).into_iter().find(|path| path.display().to_string().contains("default")).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 25) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        std::fs::write(&path, bytes).unwrap();
        all(&format!("byte {at}"));
    }
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    all("cut");
    std::fs::write(&path, b"").unwrap();
    all("empty");
    // Those of other segments.
    std::fs::write(
        &path,
        std::fs::read(filters(&site.data).into_iter().find(|one| *one != path).unwrap()).unwrap(),
    )
    .unwrap();
    all("of another ledger");
    assert_eq!(site.verify().0, 0);
}
