//! `indelible show --format`, `indelible conversation` and `indelible trace`: through a running collector, or on the
//! directory itself.

use crate::api;
use crate::cli::{Common, ShowFormat};
use crate::collector::failure;
use crate::failure::{Failure, Outcome};
use crate::records::{print, tenant_query, with_collector};
use crate::run_dir;
use indelible_collector::reading::{self, Asked, Format};
use serde_json::json;

/// Shows what is asked for, as text unless told otherwise.
pub(crate) fn show(common: &Common, asked: Asked, format: Option<ShowFormat>) -> Outcome {
    let default = if common.json { ShowFormat::Json } else { ShowFormat::Text };
    let format = format.unwrap_or(default);
    let page = match run_dir::find(&common.data())? {
        Some((address, token)) => {
            let kind = match &asked {
                Asked::Record(_) => "records",
                Asked::Session(_) => "sessions",
                Asked::Trace(_) => "traces",
            };
            let id = api::encode(asked.id());
            let path = format!("/v1/{kind}/{id}?format={}{}", format.name(), tenant_query(common, '&'));
            api::get(&address, &token, &common.purpose, &path)?.into_body()?.to_vec()
        }
        None => with_collector(common, async |collector| {
            let finds = reading::find(collector, &asked, common.tenant.as_deref());
            let finds = finds.map_err(|error| failure(&error))?;
            let (action, kind) = asked.words();
            let question = json!({ "id": asked.id(), "format": format.name(), "purpose": common.purpose });
            let results = finds.found.len() as u64;
            let looked =
                collector.record_access("operator", action, Some((kind, asked.id())), question, results);
            looked.await.map_err(|error| failure(&error))?;
            if finds.found.is_empty() {
                return Err(Failure::new(asked.unknown())
                    .hint("a new record may take a second to arrive")
                    .code(1));
            }
            let tenants: Vec<&str> = finds.tenants().into_iter().collect();
            if tenants.len() > 1 {
                return Err(Failure::new(format!("{:?} has records of several tenants", asked.id()))
                    .detail(tenants.join(", "))
                    .hint("name one with --tenant")
                    .code(3));
            }
            Ok(reading::show(collector, &asked, &finds, format.into()).into_bytes())
        })?,
    };
    print(&page)?;
    Ok(0)
}

impl ShowFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Html => "html",
        }
    }
}

impl From<ShowFormat> for Format {
    fn from(format: ShowFormat) -> Self {
        match format {
            ShowFormat::Text => Self::Text,
            ShowFormat::Json => Self::Json,
            ShowFormat::Html => Self::Html,
        }
    }
}
