//! A bucket, for callers that wait.
//!
//! Requests run on a small runtime of their own, so that a thread of any kind can ask for them. Each ends: a
//! connection, a request and all its retries have limits. Errors name the object, and never a key.

use crate::store::location::{Credentials, Location};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use indelible_segment::manifest::{FileFacts, FileHasher};
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientOptions, Error, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutOptions, PutPayload, RetryConfig,
};
use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::runtime::Runtime;

const THREADS: usize = 2;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one request, answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// No new attempt is begun after this.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES_MAX: usize = 3;
/// Of one question with all its attempts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Of a listing or a whole file, which take many requests.
const LONG_ANSWER_TIMEOUT: Duration = Duration::from_secs(3600);
/// Files up to this size are uploaded by one request, larger ones in parts.
const WHOLE_MAX_BYTES: u64 = 32 << 20;
const PART_BYTES: usize = 16 << 20;

/// A bucket, or what of it begins with a prefix.
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    prefix: Key,
    shown: String,
    credentials: Credentials,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
}

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name behind the prefix.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// What changes when it does.
    pub tag: Option<String>,
}

/// What became of an object that was to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was made, and has this tag.
    Made(Option<String>),
    /// One of that name is there.
    Exists,
}

impl Bucket {
    /// A bucket over its protocol. Nothing is asked of it yet.
    pub fn open(location: &Location) -> io::Result<Self> {
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.,
            },
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
        };
        let options =
            ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&location.bucket)
            .with_region(&location.region)
            .with_access_key_id(&location.credentials.key_id)
            .with_secret_access_key(&location.credentials.secret)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_client_options(options)
            .with_retry(retry);
        if let Some(token) = &location.credentials.token {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = &location.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let objects = builder
            .build()
            .map_err(|error| io::Error::other(location.credentials.scrub(&error.to_string())))?;
        Self::over(Arc::new(objects), location)
    }

    /// Over any object store.
    pub fn over(objects: Arc<dyn ObjectStore>, location: &Location) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("bucket")
            .enable_all()
            .build()?;
        Ok(Self {
            objects,
            prefix: Key::from(location.prefix.as_str()),
            shown: location.to_string(),
            credentials: location.credentials.clone(),
            runtime: Some(runtime),
        })
    }

    /// All objects behind the prefix.
    pub fn list(&self) -> io::Result<Vec<Object>> {
        let (objects, prefix) = (self.objects.clone(), self.prefix.clone());
        let found: Vec<ObjectMeta> = self
            .wait(LONG_ANSWER_TIMEOUT, async move { objects.list(Some(&prefix)).try_collect().await })
            .map_err(|error| self.named("cannot be listed", "", error))?;
        let prefix = self.prefix.as_ref();
        let object = |meta: ObjectMeta| {
            let name = meta.location.as_ref().strip_prefix(prefix)?.trim_start_matches('/').to_owned();
            Some(Object { name, bytes: meta.size, tag: meta.e_tag })
        };
        Ok(found.into_iter().filter_map(object).collect())
    }

    /// What an object is now; `None`: there is none.
    pub fn head(&self, name: &str) -> io::Result<Option<Object>> {
        let (objects, key) = (self.objects.clone(), self.key(name));
        match self.wait(ANSWER_TIMEOUT, async move { objects.head(&key).await }) {
            Ok(meta) => Ok(Some(Object { name: name.to_owned(), bytes: meta.size, tag: meta.e_tag })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.named("cannot be looked at", name, error)),
        }
    }

    /// A span of an object.
    pub fn read(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let (objects, key) = (self.objects.clone(), self.key(name));
        self.wait(ANSWER_TIMEOUT, async move { objects.get_range(&key, range).await })
            .map_err(|error| self.named("cannot be read", name, error))
    }

    /// A whole object, which must not be larger than `limit`.
    pub fn read_whole(&self, name: &str, limit: u64) -> io::Result<Bytes> {
        let (objects, key) = (self.objects.clone(), self.key(name));
        let work = async move {
            let got = objects.get(&key).await?;
            if got.meta.size > limit {
                return Ok(None);
            }
            got.bytes().await.map(Some)
        };
        let got =
            self.wait(ANSWER_TIMEOUT, work).map_err(|error| self.named("cannot be read", name, error))?;
        got.ok_or_else(|| self.named("is over the size limit", name, io::ErrorKind::InvalidData.into()))
    }

    /// Reads all of an object and says what it is.
    pub fn hash(&self, name: &str) -> io::Result<FileFacts> {
        let (objects, key) = (self.objects.clone(), self.key(name));
        let work = async move {
            let mut hasher = FileHasher::default();
            let mut chunks = objects.get(&key).await?.into_stream();
            while let Some(chunk) = chunks.try_next().await? {
                hasher.update(&chunk);
            }
            Ok(hasher.finish())
        };
        self.wait(LONG_ANSWER_TIMEOUT, work).map_err(|error| self.named("cannot be read back", name, error))
    }

    /// Makes an object, only if there is none of its name.
    pub fn put_new(&self, name: &str, bytes: Bytes) -> io::Result<Put> {
        self.put(name, bytes, PutMode::Create)
    }

    /// Makes an object from a file, only if there is none of its name. `go_on` is asked between parts.
    pub fn put_new_file(
        &self,
        name: &str,
        path: &Path,
        go_on: impl Fn() -> io::Result<()>,
    ) -> io::Result<Put> {
        let size = path.metadata()?.len();
        if size <= WHOLE_MAX_BYTES {
            return self.put_new(name, std::fs::read(path)?.into());
        }
        // Parts cannot be put together under a condition everywhere: looked at beforehand. Only this process makes
        // objects of this name, and those that are there already are never taken for the file without being read.
        match self.head(name)? {
            Some(_) => Ok(Put::Exists),
            None => self.put_parts(name, path, go_on).map(Put::Made),
        }
    }

    /// Puts a file in the place of an object that is not the one that was meant.
    pub fn replace(&self, name: &str, path: &Path, go_on: impl Fn() -> io::Result<()>) -> io::Result<()> {
        if path.metadata()?.len() > WHOLE_MAX_BYTES {
            return self.put_parts(name, path, go_on).map(drop);
        }
        self.put(name, std::fs::read(path)?.into(), PutMode::Overwrite).map(drop)
    }

    fn put(&self, name: &str, bytes: Bytes, mode: PutMode) -> io::Result<Put> {
        let (objects, key) = (self.objects.clone(), self.key(name));
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.wait(ANSWER_TIMEOUT, async move {
            objects.put_opts(&key, PutPayload::from_bytes(bytes), options).await
        });
        match put {
            Ok(put) => Ok(Put::Made(put.e_tag)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Exists),
            Err(error) => Err(self.named("cannot be written", name, error)),
        }
    }

    fn put_parts(
        &self,
        name: &str,
        path: &Path,
        go_on: impl Fn() -> io::Result<()>,
    ) -> io::Result<Option<String>> {
        let failed = |error| self.named("cannot be written", name, error);
        let mut file = File::open(path)?;
        let (objects, key) = (self.objects.clone(), self.key(name));
        let mut upload =
            self.wait(ANSWER_TIMEOUT, async move { objects.put_multipart(&key).await }).map_err(failed)?;
        let mut parts = || -> io::Result<()> {
            loop {
                go_on()?;
                let mut part = Vec::with_capacity(PART_BYTES);
                (&mut file).take(PART_BYTES as u64).read_to_end(&mut part)?;
                if part.is_empty() {
                    return Ok(());
                }
                let sent = upload.put_part(PutPayload::from(part));
                self.wait(ANSWER_TIMEOUT, sent)?;
            }
        };
        let sent = parts();
        let finish = async move |mut upload: Box<dyn MultipartUpload>, whole: bool| {
            if whole { upload.complete().await.map(Some) } else { upload.abort().await.map(|()| None) }
        };
        let whole = sent.is_ok();
        let finished = self.wait(ANSWER_TIMEOUT, finish(upload, whole));
        sent.map_err(failed)?;
        Ok(finished.map_err(failed)?.and_then(|put| put.e_tag))
    }

    fn key(&self, name: &str) -> Key {
        name.split('/').fold(self.prefix.clone(), |key, part| key.join(part))
    }

    fn named(&self, what: &str, name: &str, error: io::Error) -> io::Error {
        let kind = error.kind();
        io::Error::new(
            kind,
            format!("{}/{name} {what}: {}", self.shown, self.credentials.scrub(&error.to_string())),
        )
    }

    /// Runs a request on the bucket's runtime and waits for it here.
    fn wait<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let runtime = self.runtime.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            // Nobody waits any more only if the process ends.
            let _ = sender.send(tokio::time::timeout(limit, work).await);
        });
        match receiver.recv() {
            Ok(Ok(answer)) => answer.map_err(into_io),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))),
            Err(_) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the request was given up")),
        }
    }
}

impl std::fmt::Display for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // A runtime must not wait for its threads where this may be dropped, in a task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn into_io(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}
