//! When a trigger fires: pure, from its record and the time.

use cronexpr::Crontab;
use jiff::Timestamp as Instant;
use tombolo_core::time::Timestamp;
use tombolo_core::trigger::{CatchUp, Schedule, Trigger};

/// So late a time may be dealt with and still count as dealt with in time, in milliseconds.
const PUNCTUAL: u64 = 60_000;

/// How far back the last time is looked for first: schedules fire once a day or more often, mostly.
const RECENT: u64 = 25 * 60 * 60 * 1000;

/// A schedule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schedule `{cron}` ({timezone}) cannot be: {reason}")]
pub struct Invalid {
    cron: String,
    timezone: String,
    reason: String,
}

/// What is to be done about a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Submit its build, for this time.
    Fire(Timestamp),
    /// Nobody was there at this time, and it is not to be made up for.
    Missed(Timestamp),
    /// Nothing before this time.
    Later(Timestamp),
    /// Nothing, ever.
    Never,
}

/// The times of a schedule.
pub struct Times {
    crontab: Crontab,
}

impl Times {
    /// Reads a schedule.
    ///
    /// # Errors
    /// If it cannot be understood, or never fires.
    pub fn parse(schedule: &Schedule) -> Result<Self, Invalid> {
        let Schedule { cron, timezone } = schedule;
        let invalid = |reason: String| Invalid {
            cron: cron.clone(),
            timezone: timezone.clone(),
            reason,
        };
        if cron.split_whitespace().count() != 5 {
            let fields = "minute, hour, day of the month, month and day of the week, as in `0 3 * * *`";
            return Err(invalid(format!("cron has five fields: {fields}")));
        }
        // The library that reads it takes the last day of December for none (cronexpr 1.7).
        if cron
            .split_whitespace()
            .skip(2)
            .step_by(2)
            .any(|field| field.contains('L'))
        {
            return Err(invalid(
                "there is no `L`: for the last day of each month, take the first one, at 0:00".to_owned(),
            ));
        }
        if timezone.is_empty() || timezone.contains(char::is_whitespace) {
            return Err(invalid(
                "a time zone is a name such as `Europe/Berlin` or `UTC`".to_owned(),
            ));
        }
        let parsed = cronexpr::parse_crontab(&format!("{cron} {timezone}"));
        let crontab = parsed.map_err(|_| invalid(what_is_wrong(cron, timezone)))?;
        let times = Self { crontab };
        match times.after(Timestamp(0)) {
            Some(_) => Ok(times),
            None => Err(invalid("it never fires".to_owned())),
        }
    }

    /// The first time after `time`; none if there is none within the years that are looked at.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let time = Instant::from_millisecond(i64::try_from(time.0).ok()?).ok()?;
        let next = self.crontab.find_next(time).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok().map(Timestamp)
    }

    /// The last time after `start` and not after `end`.
    fn last_within(&self, start: Timestamp, end: Timestamp) -> Option<Timestamp> {
        let (mut last, mut at) = (None, start);
        while let Some(next) = self.after(at).filter(|next| *next <= end) {
            last = Some(next);
            at = next;
        }
        last
    }
}

/// The fields of cron, and what each may hold.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of the week", "0 to 7, or SUN to SAT"),
];

/// Why a schedule cannot be read: the library's own words show its parser, and where to read about time zones.
fn what_is_wrong(cron: &str, timezone: &str) -> String {
    for (index, (field, (name, range))) in cron.split_whitespace().zip(FIELDS).enumerate() {
        let mut alone = ["*"; FIELDS.len()];
        alone[index] = field;
        if cronexpr::parse_crontab(&format!("{} UTC", alone.join(" "))).is_err() {
            return format!(
                "`{field}` is no {name}: that is {range}, `*`, a range `1-5`, a step `*/2` or a list `1,3`"
            );
        }
    }
    format!("no time zone is named `{timezone}`: names are such as `Europe/Berlin` or `UTC`")
}

/// What is to be done about a trigger now.
pub fn due(trigger: &Trigger, now: Timestamp) -> Due {
    let times = trigger
        .schedule
        .as_ref()
        .and_then(|schedule| Times::parse(schedule).ok());
    let Some(times) = times else { return Due::Never };
    let start = trigger.fired_for.unwrap_or_default().max(trigger.created_at);
    match times.after(start) {
        None => return Due::Never,
        Some(next) if next > now => return Due::Later(next),
        Some(_) => {}
    }
    // Of many that have passed, only the last one counts.
    let recent = Timestamp(now.0.saturating_sub(RECENT)).max(start);
    let last = times.last_within(recent, now).or_else(|| times.last_within(start, now));
    match last {
        None => Due::Never,
        Some(last) if trigger.catch_up == CatchUp::Once || now.0 - last.0 <= PUNCTUAL => Due::Fire(last),
        Some(last) => Due::Missed(last),
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::attempt::Revision;
    use tombolo_core::id::ProjectId;
    use tombolo_core::name::TriggerName;
    use tombolo_core::trigger::Overlap;

    use super::*;

    fn schedule(cron: &str, timezone: &str) -> Schedule {
        Schedule {
            cron: cron.to_owned(),
            timezone: timezone.to_owned(),
        }
    }

    fn at(text: &str) -> Timestamp {
        let time: Instant = text.parse().unwrap();
        Timestamp(u64::try_from(time.as_millisecond()).unwrap())
    }

    fn trigger(cron: &str, timezone: &str) -> Trigger {
        Trigger {
            project: ProjectId::from_u128(1),
            name: TriggerName::new("nightly").unwrap(),
            schedule: Some(schedule(cron, timezone)),
            environment: Default::default(),
            source: None,
            revision: Revision::default(),
            overlap: Overlap::Allow,
            catch_up: CatchUp::Once,
            created_by: String::new(),
            created_at: at("2026-03-27T12:00:00Z"),
            fired_for: None,
            last: None,
            obstacle: None,
        }
    }

    #[test]
    fn schedules_that_never_fire_or_cannot_be_read_are_refused() {
        for (cron, timezone, words) in [
            ("0 0 30 2 *", "UTC", "never fires"),
            ("0 0 31 4,6 *", "UTC", "never fires"),
            ("0 3 * *", "UTC", "five fields"),
            ("0 3 * * * *", "UTC", "five fields"),
            ("", "UTC", "five fields"),
            ("61 * * * *", "UTC", "`61` is no minute: that is 0 to 59"),
            ("0 24 * * *", "UTC", "`24` is no hour: that is 0 to 23"),
            ("0 3 * * MOO", "UTC", "`MOO` is no day of the week"),
            (
                "0 3 * * *",
                "Europe/Atlantis",
                "no time zone is named `Europe/Atlantis`",
            ),
            ("0 3 * * *", "", "name such as"),
            ("0 3 * * *", "UTC UTC", "name such as"),
        ] {
            let error = Times::parse(&schedule(cron, timezone)).err().expect(cron).to_string();
            assert!(error.contains(words) && !error.contains('\n'), "{error}");
            assert!(!error.contains('^') && !error.contains("://"), "{error}");
        }
        for (cron, first) in [
            ("0 0 29 2 *", "1972-02-29T00:00:00Z"),
            ("*/15 8-17 * * MON-FRI", "1970-01-01T08:00:00Z"),
        ] {
            let times = Times::parse(&schedule(cron, "UTC")).unwrap();
            assert_eq!(times.after(Timestamp(0)), Some(at(first)), "{cron}");
        }
    }

    #[test]
    fn times_are_those_of_the_zone_also_when_its_clocks_change() {
        // In Berlin, clocks go from 2 to 3 on 2026-03-29, and from 3 to 2 on 2026-10-25.
        let times = Times::parse(&schedule("30 3 * * *", "Europe/Berlin")).unwrap();
        let mut time = at("2026-03-27T12:00:00Z");
        for expected in ["2026-03-28T02:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T01:30:00Z"] {
            time = times.after(time).unwrap();
            assert_eq!(time, at(expected));
        }
        // Half past two comes twice in autumn, and not at all in spring: a day has one time or none.
        let times = Times::parse(&schedule("30 2 * * *", "Europe/Berlin")).unwrap();
        let days = |from: &str, to: &str| {
            let (mut found, mut time) = (Vec::new(), at(from));
            while let Some(next) = times.after(time).filter(|next| *next < at(to)) {
                found.push(next);
                time = next;
            }
            found.len()
        };
        assert!(days("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z") <= 1);
        assert!((1..=2).contains(&days("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z")));
    }

    #[test]
    fn a_time_is_due_once_and_of_many_that_were_missed_the_last() {
        let mut trigger = trigger("0 3 * * *", "UTC");
        let first = at("2026-03-28T03:00:00Z");
        assert_eq!(due(&trigger, at("2026-03-27T12:00:00Z")), Due::Later(first));
        assert_eq!(due(&trigger, at("2026-03-28T02:59:59Z")), Due::Later(first));
        assert_eq!(due(&trigger, first), Due::Fire(first));
        trigger.fired_for = Some(first);
        assert_eq!(due(&trigger, first), Due::Later(at("2026-03-29T03:00:00Z")));
        // A week without a master.
        let later = at("2026-04-05T13:00:00Z");
        let last = at("2026-04-05T03:00:00Z");
        assert_eq!(due(&trigger, later), Due::Fire(last));
        trigger.catch_up = CatchUp::Never;
        assert_eq!(due(&trigger, later), Due::Missed(last));
        assert_eq!(due(&trigger, at("2026-04-05T03:00:59Z")), Due::Fire(last), "in time");
        trigger.fired_for = Some(last);
        assert_eq!(due(&trigger, later), Due::Later(at("2026-04-06T03:00:00Z")));
    }

    #[test]
    fn a_time_long_ago_is_found_and_a_trigger_without_schedule_is_never_due() {
        let yearly = trigger("0 0 1 4 *", "UTC");
        assert_eq!(
            due(&yearly, at("2027-02-01T00:00:00Z")),
            Due::Fire(at("2026-04-01T00:00:00Z"))
        );
        let by_hand = Trigger {
            schedule: None,
            ..trigger("* * * * *", "UTC")
        };
        assert_eq!(due(&by_hand, at("2030-01-01T00:00:00Z")), Due::Never);
    }
}
