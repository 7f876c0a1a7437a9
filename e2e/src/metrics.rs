//! Reads Prometheus' text format: as much of it as tests ask for.

use anyhow::{Context, Result, ensure};

use crate::client::Target;

/// One scrape.
pub struct Scrape(String);

impl Scrape {
    /// Reads `/metrics` of an admin address.
    pub async fn of(admin: &Target) -> Result<Self> {
        let answer = admin.get("/metrics").await?;
        ensure!(answer.status == 200, "/metrics answers {}", answer.status);
        Ok(Self(answer.text()))
    }

    /// Wraps text that is there already.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The sum over every series of this name that has all of these labels. Absent series count as 0.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let mut sum = 0.0;
        for line in self.series(name) {
            let (series, value) = line.rsplit_once(' ').with_context(|| format!("no value in {line:?}"))?;
            let has = |(label, value): &(&str, &str)| {
                let wanted = format!("{label}=\"{value}\"");
                series.contains(&format!("{{{wanted}")) || series.contains(&format!(",{wanted}"))
            };
            if labels.iter().all(has) {
                sum += value.parse::<f64>().with_context(|| format!("no number in {line:?}"))?;
            }
        }
        Ok(sum)
    }

    /// As [`Scrape::sum`], for what is counted in whole numbers.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let sum = self.sum(name, labels)?;
        format!("{sum}").parse().with_context(|| format!("{name} is {sum}, which is no count"))
    }

    /// Every series of this name, as lines.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.lines().filter(move |line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        })
    }

    /// The scrape as it came.
    pub fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_series_that_have_the_labels() {
        let scrape = Scrape::new(
            "# HELP open x\nopen 3\nclosed_total{reason=\"idle\",side=\"a\"} 2\nclosed_total{reason=\"drain\"} 5\n\
             closed_total_more{reason=\"idle\"} 100\n"
                .to_owned(),
        );
        assert_eq!(scrape.count("open", &[]).unwrap(), 3);
        assert_eq!(scrape.count("closed_total", &[("reason", "idle")]).unwrap(), 2);
        assert_eq!(scrape.count("closed_total", &[]).unwrap(), 7);
        assert_eq!(scrape.count("absent", &[]).unwrap(), 0);
    }
}
