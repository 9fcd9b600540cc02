//! A look-up by id opens the indexes of segments that may have the id, where a day has many; and finds the same without that.

use crate::common::*;
use crate::segments::traffic;
use indelible_collector::seal::segments_dir;
use indelible_collector::store::Store;
use indelible_collector::store::filters::{Filters, SEGMENTS_MIN};
use indelible_collector::store::local::LocalStorage;
use indelible_collector::{Collector, Config, Query};
use indelible_os::durable;
use indelible_verify::directory::OPERATIONS;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// As of this day, the segments' day is over.
const OVER: &str = "9999-12-31";
/// As of this one, it lasts.
const LASTS: &str = "2000-01-01";

const NOBODYS: &str = "019ab2c3-1111-7abc-8def-0123456789ab";
/// A filter that is being made.
const STAGED: &str = ".staged.7";
const FILES: [&str; 2] = ["ids.idx", "entries.parquet"];

/// A day of segments, and the ids of the events in each.
fn recorded() -> (Site, Vec<Vec<String>>) {
    let site = Site::new();
    let ids = (0..SEGMENTS_MIN + 2).map(|_| segment(&site)).collect();
    (site, ids)
}

/// One segment more, and the ids of its events.
fn segment(site: &Site) -> Vec<String> {
    let ids = traffic(site, 2);
    site.json(&["seal", "--json"]);
    ids
}

fn segments_of(data: &Path, tenant: &str) -> Vec<PathBuf> {
    let mut dirs: Vec<_> = files_below(&segments_dir(data).join(format!("tenant={tenant}")))
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

/// How often there were filters to make as of a day.
fn make_all(data: &Path, today: &str) -> usize {
    make_with(data, usize::MAX, today)
}

/// The same as if each ledger had only its first segments.
fn make_with(data: &Path, count: usize, today: &str) -> usize {
    let some = data.parent().unwrap().join(format!("first-{count}"));
    for tenant in ["default", OPERATIONS] {
        let dirs = segments_of(data, tenant);
        for dir in dirs.iter().take(count) {
            copy_dir(dir, &some.join(dir.strip_prefix(segments_dir(data)).unwrap()));
        }
    }
    let store = Store::open(Arc::new(LocalStorage::existing(&some))).unwrap();
    let filters = Filters::new(data);
    let mut made = 0;
    while filters.make_next(&store.view(), today, &|| true).unwrap() {
        made += 1;
    }
    std::fs::remove_dir_all(some).unwrap();
    made
}

/// One that makes no filters itself.
fn collector(site: &Site) -> Collector {
    let mut config = Config::new(&site.data);
    config.seals_by_itself = false;
    Collector::start(config).unwrap()
}

fn found(site: &Site, id: &str) -> Result<usize, String> {
    let collector = collector(site);
    let query = Query { id: Some(id.to_owned()), tenant: Some("default".to_owned()), ..Query::default() };
    let found = collector.list(&query, 10).map(|found| found.len()).map_err(|error| error.to_string());
    collector.stop().unwrap();
    found
}

/// Takes the files of entries and ids of all segments but one out of reach.
fn take_away(dirs: &[PathBuf], but: usize, away: &Path) {
    for (number, dir) in dirs.iter().enumerate().filter(|(number, _)| *number != but) {
        for name in FILES {
            std::fs::create_dir_all(away.join(number.to_string())).unwrap();
            durable::publish_file(&dir.join(name), &away.join(number.to_string()).join(name)).unwrap();
        }
    }
}

fn put_back(dirs: &[PathBuf], away: &Path) {
    for (number, dir) in dirs.iter().enumerate().filter(|(number, _)| away.join(number.to_string()).is_dir())
    {
        FILES.iter().for_each(|name| {
            durable::publish_file(&away.join(number.to_string()).join(name), &dir.join(name)).unwrap();
        });
    }
    std::fs::remove_dir_all(away).unwrap();
}

#[test]
fn segments_that_cannot_have_an_id_are_not_opened_for_it() {
    let (site, ids) = recorded();
    let dirs = segments_of(&site.data, "default");
    assert_eq!(dirs.len(), ids.len());
    assert_eq!(make_all(&site.data, OVER), 2, "one of each ledger");
    assert_eq!(make_all(&site.data, OVER), 0, "they are there");

    // Files of the other segments are out of reach.
    let wanted = &ids[4][1];
    take_away(&dirs, 4, &site.data.parent().unwrap().join("away"));
    assert_eq!(found(&site, wanted), Ok(1));
    assert_eq!(found(&site, NOBODYS), Ok(0), "nor for what nobody has");
    // It is the filter that spared them.
    std::fs::remove_dir_all(site.data.join("cache/filters")).unwrap();
    assert!(found(&site, wanted).is_err());
}

/// What SQL says of an event.
#[cfg(feature = "sql")]
fn asked(site: &Site, id: &str) -> Result<String, String> {
    let sql = format!("SELECT event_id FROM events WHERE event_id = '{id}'");
    let output = site.run(&["query", &sql, "--format", "csv", "--tenant", "default"]);
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[cfg(feature = "sql")]
#[test]
fn sql_opens_no_segment_that_cannot_have_an_id_and_trusts_no_index_of_another() {
    let (site, ids) = recorded();
    let dirs = segments_of(&site.data, "default");
    make_all(&site.data, OVER);
    let wanted = &ids[4][1];
    let found = Ok(format!("event_id\n{wanted}\n"));
    let away = site.data.parent().unwrap().join("away");
    take_away(&dirs, 4, &away);
    assert_eq!(asked(&site, wanted), found);
    assert_eq!(asked(&site, NOBODYS), Ok("event_id\n".to_owned()), "nor for what nobody has");
    // An index that is not there leaves nothing out.
    std::fs::remove_dir_all(site.data.join("cache/filters")).unwrap();
    assert!(asked(&site, wanted).is_err());
    put_back(&dirs, &away);
    // With indexes alone, entries of the others are not read.
    let entries = |dir: &PathBuf| dir.join("entries.parquet");
    let hidden = |dir: &PathBuf| dir.join("hidden");
    let others = || dirs.iter().enumerate().filter(|(number, _)| *number != 4).map(|(_, dir)| dir);
    others().for_each(|dir| durable::publish_file(&entries(dir), &hidden(dir)).unwrap());
    assert_eq!(asked(&site, wanted), found);
    others().for_each(|dir| durable::publish_file(&hidden(dir), &entries(dir)).unwrap());
    // A whole index, and one of another segment: what it does not have may be there all the same.
    let copy = site.data.parent().unwrap().join("ids.idx");
    std::fs::copy(dirs[0].join("ids.idx"), &copy).unwrap();
    durable::publish_file(&copy, &dirs[4].join("ids.idx")).unwrap();
    assert_eq!(asked(&site, wanted), found);
}

#[test]
fn while_a_day_lasts_each_run_of_segments_gets_a_filter_and_all_get_one_once_it_is_over() {
    let (site, mut ids) = recorded();
    (0..SEGMENTS_MIN).for_each(|_| ids.push(segment(&site)));
    // Those that the collector made meanwhile.
    let _ = std::fs::remove_dir_all(site.data.join("cache/filters"));
    let (first, ledgers) = (SEGMENTS_MIN + 2, 2);
    assert_eq!(make_with(&site.data, SEGMENTS_MIN - 1, LASTS), 0, "too few");
    assert_eq!(make_with(&site.data, first, LASTS), ledgers);
    assert_eq!(make_with(&site.data, first + SEGMENTS_MIN - 1, LASTS), 0, "too few more");
    let made = filters(&site.data);
    assert_eq!(made.len(), ledgers);
    let path = &made[0];
    let before = std::fs::read(path).unwrap();
    assert_eq!(make_with(&site.data, first + SEGMENTS_MIN, LASTS), ledgers);
    assert_eq!(make_with(&site.data, first + SEGMENTS_MIN, LASTS), 0, "they are there");
    assert_eq!(filters(&site.data).len(), 2 * ledgers);
    assert_eq!(std::fs::read(path).unwrap(), before, "what there was stays");
    // What a process left that ended while it wrote one.
    std::fs::write(path.with_file_name(STAGED), &before[..before.len() / 2]).unwrap();

    let dirs = segments_of(&site.data, "default");
    let away = site.data.parent().unwrap().join("away");
    for wanted in [2, first + 3] {
        take_away(&dirs, wanted, &away);
        assert_eq!(found(&site, &ids[wanted][0]), Ok(1), "neither filter lets it open another");
        assert_eq!(found(&site, NOBODYS), Ok(0));
        put_back(&dirs, &away);
    }

    assert_eq!(make_all(&site.data, OVER), ledgers);
    assert_eq!(make_all(&site.data, OVER), 0, "they are there");
    let made = filters(&site.data);
    assert_eq!(made.len(), ledgers, "what was left half made is gone, too: {made:?}");
    take_away(&dirs, 3, &away);
    assert_eq!(found(&site, &ids[3][0]), Ok(1));
}

#[test]
fn a_filter_that_is_damaged_gone_or_old_hides_nothing() {
    let (site, mut ids) = recorded();
    make_all(&site.data, OVER);
    // Of the same day, and not in the filter.
    ids.push(traffic(&site, 2));
    site.json(&["seal", "--json"]);
    let all = |what: &str| {
        let collector = collector(&site);
        for id in ids.iter().flatten() {
            let query =
                Query { id: Some(id.clone()), tenant: Some("default".to_owned()), ..Query::default() };
            assert_eq!(collector.list(&query, 10).unwrap().len(), 1, "{what}: {id}");
        }
        collector.stop().unwrap();
    };
    all("a segment more");
    assert_eq!(make_all(&site.data, OVER), 2, "they are made again");
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
