//! Where a bucket is, and with what it is opened: what the configuration says of it.

use std::fmt;
use std::time::Duration;

/// A bucket for segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Name of the bucket.
    pub bucket: String,
    /// What all names in it begin with; may be empty.
    pub prefix: String,
    /// `https://…`, for other stores than Amazon's.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// Who this is to it.
    pub credentials: Credentials,
    /// Records younger than this stay on this machine, too.
    pub keep_local: Duration,
    /// Most bytes of remote segments that are kept on this machine.
    pub cache_bytes: u64,
}

/// Keys to a bucket. They are shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: String,
    /// `AWS_SESSION_TOKEN`.
    pub token: Option<String>,
}

/// The text is not `s3://BUCKET/PREFIX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form s3://BUCKET or s3://BUCKET/PREFIX")]
pub struct NotABucket;

impl Location {
    /// Bucket and prefix that `s3://BUCKET/PREFIX` names.
    pub fn parse_url(url: &str) -> Result<(String, String), NotABucket> {
        let rest = url.strip_prefix("s3://").ok_or(NotABucket)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
        let prefix = prefix.trim_end_matches('/');
        let parts = || prefix.split('/').filter(|_| !prefix.is_empty());
        let fits = |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain);
        if !fits(bucket) || !parts().all(fits) {
            return Err(NotABucket);
        }
        Ok((bucket.to_owned(), prefix.to_owned()))
    }
}

/// `s3://BUCKET/PREFIX`.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Takes the keys out of a text: some stores repeat them in their errors.
    pub fn scrub(&self, text: &str) -> String {
        let secrets = [Some(&self.key_id), Some(&self.secret), self.token.as_ref()];
        let secrets = secrets.into_iter().flatten().filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bucket_and_a_plain_prefix_are_taken() {
        let parsed = |url| Location::parse_url(url).ok();
        let both = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(parsed("s3://audit"), both("audit", ""));
        assert_eq!(parsed("s3://audit/"), both("audit", ""));
        assert_eq!(parsed("s3://audit/a/b/"), both("audit", "a/b"));
        for bad in
            ["audit", "http://audit", "s3://", "s3:///a", "s3://audit/a//b", "s3://audit/../b", "s3://a/b c"]
        {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_are_shown_to_nobody() {
        let credentials = Credentials {
            key_id: "AKEY".to_owned(),
            secret: "hush".to_owned(),
            token: Some("tick".to_owned()),
        };
        assert_eq!(format!("{credentials:?}"), "Credentials");
        assert_eq!(credentials.scrub("for AKEY, hush tick"), "for …, … …");
    }
}
