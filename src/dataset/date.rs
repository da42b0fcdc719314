//! Dates and times as people write them. Owns the orders of day, month and year, and the calendar; does not know columns.
//!
//! A moment is its seconds since 1970-01-01 00:00, by its own offset from UTC where it has one, and otherwise as if it
//! were UTC; the weekday and the hour are those of the clock that wrote it.

/// How a column orders day, month and year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOrder {
    /// `2024-02-29`, `2024/2/29`
    YearFirst,
    /// `29.02.2024`, `29/2/24`
    DayFirst,
    /// `02/29/2024`
    MonthFirst,
    /// `29 Feb 2024`
    DayName,
    /// `Feb 29, 2024`
    NameDay,
}

impl DateOrder {
    /// All of them, in the order in which they are preferred where several read a column.
    pub const ALL: [DateOrder; 5] =
        [DateOrder::YearFirst, DateOrder::MonthFirst, DateOrder::DayFirst, DateOrder::DayName, DateOrder::NameDay];

    /// Its name in a schema.
    pub fn name(self) -> &'static str {
        match self {
            DateOrder::YearFirst => "year month day",
            DateOrder::DayFirst => "day month year",
            DateOrder::MonthFirst => "month day year",
            DateOrder::DayName => "day name year",
            DateOrder::NameDay => "name day year",
        }
    }

    /// A day that is written so.
    pub fn example(self) -> &'static str {
        match self {
            DateOrder::YearFirst => "2024-01-31",
            DateOrder::DayFirst => "31.01.2024",
            DateOrder::MonthFirst => "01/31/2024",
            DateOrder::DayName => "31 Jan 2024",
            DateOrder::NameDay => "Jan 31, 2024",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<DateOrder> {
        DateOrder::ALL.into_iter().find(|order| order.name() == name)
    }
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Since 1970-01-01 00:00.
    pub seconds: f64,
    /// From Monday, 0, to Sunday, 6.
    pub weekday: u8,
    /// From 0 to 23.
    pub hour: u8,
    /// Whether it says more than a day.
    pub has_time: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const MONTHS_IN_FULL: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// The moment that a text is in this order.
pub fn read(text: &str, order: DateOrder) -> Option<Moment> {
    let (day, time) = split(text)?;
    let days = day.in_order(order)?;
    let (seconds, offset_seconds) = match time {
        Some(time) => time_of_day(time)?,
        None => (0.0, 0),
    };
    Some(Moment {
        seconds: days as f64 * 86_400.0 + seconds - f64::from(offset_seconds),
        weekday: (days + 3).rem_euclid(7) as u8,
        hour: (seconds / 3_600.0).min(23.0) as u8,
        has_time: time.is_some(),
    })
}

/// Which orders read a text, a bit for each of [`DateOrder::ALL`].
pub fn orders(text: &str) -> u8 {
    // The shortest is `1/2/24`; the longest have weekday, month, time and offset.
    if !(6..=48).contains(&text.len()) || !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    // What `read` asks, once for all orders.
    let Some((day, time)) = split(text) else { return 0 };
    if time.is_some_and(|time| time_of_day(time).is_none()) {
        return 0;
    }
    let reads = |(bit, &order): (usize, &DateOrder)| u8::from(day.in_order(order).is_some()) << bit;
    DateOrder::ALL.iter().enumerate().map(reads).sum()
}

/// Whether a date has a time of day behind it.
pub fn has_time(text: &str) -> bool {
    split(text).is_some_and(|(_, time)| time.is_some())
}

/// Whether the year of a date has two digits, so that nobody knows its century.
pub fn has_short_year(text: &str) -> bool {
    split(text).is_some_and(|(Day([first, _, last]), _)| last.len() == 2 && number(first, 4..=4).is_none())
}

/// Whether a number is a day of the years from 1800 to 2199 by its eight digits: 20240131.
pub fn is_day_of_digits(number: f64) -> bool {
    let is_near = (18_000_101.0..=21_991_231.0).contains(&number) && number.fract() == 0.0;
    is_near && read(&number.to_string(), DateOrder::YearFirst).is_some()
}

/// Whether a text is a time without a day, or a duration of hours or minutes: `13:05`, `1:05:07.5 PM`, `125:40`.
pub fn is_time_alone(text: &str) -> bool {
    let Some((first, rest)) = text.split_once(':') else { return false };
    number(first, 1..=4).is_some() && time_of_day(&format!("1:{rest}")).is_some()
}

/// Whether a text is a month without a day: `2024-02`, `2/2024`.
pub fn is_month(text: &str) -> bool {
    let is_month = |part| number(part, 1..=2).is_some_and(|month| (1..=12).contains(&month));
    let parts = text.split_once(['-', '/']);
    parts.is_some_and(|(one, other)| is_year(one) && is_month(other) || is_month(one) && is_year(other))
}

/// Whether a text is a week as ISO 8601 has it: `2024-W09`.
pub fn is_week(text: &str) -> bool {
    let parts = text.split_once(['W', 'w']);
    let is_week = |part| number(part, 2..=2).is_some_and(|week| (1..=53).contains(&week));
    parts.is_some_and(|(year, week)| is_year(year.strip_suffix('-').unwrap_or(year)) && is_week(week))
}

fn is_year(text: &str) -> bool {
    number(text, 4..=4).is_some_and(|year| (1_000..=2_999).contains(&year))
}

/// Whether a date is of the last year that four digits can say, which stands for a day that is never to come.
pub fn is_never(text: &str, order: DateOrder) -> bool {
    const YEAR_9999: f64 = 253_370_764_800.0;
    read(text, order).is_some_and(|moment| moment.seconds >= YEAR_9999)
}

/// Three parts of a day, in the order of the text.
struct Day<'a>([&'a str; 3]);

/// Day and time of day.
fn split(text: &str) -> Option<(Day<'_>, Option<&str>)> {
    let is_between_digits = |three: &[u8]| {
        let [before, sign, behind] = three else { return false };
        before.is_ascii_digit() && sign.eq_ignore_ascii_case(&b'T') && behind.is_ascii_digit()
    };
    let start = match text.find(':') {
        Some(colon) => Some(text[..colon].rfind([' ', 'T', 't'])?),
        // `2024-02-29T1305`
        None => text.as_bytes().windows(3).position(is_between_digits).map(|before| before + 1),
    };
    let (day, time) = match start {
        None => (text, None),
        Some(start) => (&text[..start], Some(text[start + 1..].trim())),
    };
    let mut parts = day.split(['-', '/', '.', ' ', ',']).filter(|part| !part.is_empty());
    let mut first = parts.next()?;
    // `Mon, 29 Feb 2024`
    if ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].iter().any(|name| name.eq_ignore_ascii_case(first)) {
        first = parts.next()?;
    }
    let Some(second) = parts.next() else {
        // `20240229`
        let is_whole = first.len() == 8 && first.bytes().all(|byte| byte.is_ascii_digit());
        return is_whole.then(|| (Day([&first[..4], &first[4..6], &first[6..]]), time));
    };
    let parts_of = Day([first, second, parts.next()?]);
    parts.next().is_none().then_some((parts_of, time))
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    (digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn year(text: &str) -> Option<i64> {
    match text.len() {
        4 => number(text, 4..=4).filter(|&year| year > 0),
        // As POSIX has it.
        2 => number(text, 2..=2).map(|year| if year < 69 { 2_000 + year } else { 1_900 + year }),
        _ => None,
    }
}

fn month_by_name(text: &str) -> Option<i64> {
    let place = |names: [&str; 12]| names.iter().position(|name| name.eq_ignore_ascii_case(text));
    place(MONTHS).or_else(|| place(MONTHS_IN_FULL)).map(|place| place as i64 + 1)
}

impl Day<'_> {
    /// Days since 1970-01-01, if it is one in this order.
    fn in_order(&self, order: DateOrder) -> Option<i64> {
        let [a, b, c] = self.0;
        let two = |text| number(text, 1..=2);
        let (year, month, day) = match order {
            DateOrder::YearFirst => (number(a, 4..=4).filter(|&year| year > 0)?, two(b)?, two(c)?),
            DateOrder::DayFirst => (year(c)?, two(b)?, two(a)?),
            DateOrder::MonthFirst => (year(c)?, two(a)?, two(b)?),
            DateOrder::DayName => (year(c)?, month_by_name(b)?, two(a)?),
            DateOrder::NameDay => (year(c)?, month_by_name(a)?, two(b)?),
        };
        if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
            return None;
        }
        // Hinnant's days_from_civil: years begin in March, so that the leap day is the last.
        let shifted = if month <= 2 { year - 1 } else { year };
        let era = shifted.div_euclid(400);
        let of_era = shifted - era * 400;
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Seconds since midnight, and the seconds by which the clock is ahead of UTC.
fn time_of_day(text: &str) -> Option<(f64, i32)> {
    let (clock, offset_seconds) = offset(text)?;
    let (clock, half) = match clock.to_ascii_lowercase() {
        lower if lower.ends_with("am") => (clock[..clock.len() - 2].trim_end(), Some(0)),
        lower if lower.ends_with("pm") => (clock[..clock.len() - 2].trim_end(), Some(12)),
        _ => (clock, None),
    };
    let [hour, minute, second] = clock_parts(clock)?;
    let mut hour = number(hour?, 1..=2)?;
    let minute = minute.map_or(Some(0), |minute| number(minute, 2..=2).filter(|&minute| minute < 60))?;
    let second = match second {
        None => 0.0,
        Some(text) => {
            let (whole, part) = text.split_once(['.', ',']).unwrap_or((text, "0"));
            number(whole, 2..=2).filter(|&second| second <= 60)?;
            number(part, 1..=12)?;
            format!("{whole}.{part}").parse::<f64>().ok()?
        }
    };
    if let Some(half) = half {
        hour = Some(hour).filter(|hour| (1..=12).contains(hour))? % 12 + half;
    }
    (hour < 24).then(|| ((hour * 3_600 + minute * 60) as f64 + second, offset_seconds))
}

/// Hours, minutes and seconds of `13:05:07.25` or `130507.25`, where the last ones may not be said.
fn clock_parts(clock: &str) -> Option<[Option<&str>; 3]> {
    if clock.contains(':') {
        let mut parts = clock.split(':');
        let three = std::array::from_fn(|_| parts.next());
        return parts.next().is_none().then_some(three);
    }
    // Only seconds have parts.
    let whole = clock.find(['.', ',']).unwrap_or(clock.len());
    let is_whole = matches!(whole, 2 | 4 | 6) && (whole == 6 || whole == clock.len());
    is_whole.then(|| [clock.get(..2), clock.get(2..4), clock.get(4..).filter(|second| !second.is_empty())])
}

/// A time without its offset from UTC, and that in seconds.
fn offset(text: &str) -> Option<(&str, i32)> {
    let suffixes = [text.strip_suffix(['Z', 'z']), text.strip_suffix(" UTC"), text.strip_suffix(" utc")];
    if let Some(clock) = suffixes.into_iter().flatten().next() {
        return Some((clock.trim_end(), 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let digits: String = text[at + 1..].split(':').collect();
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits, 2..=2)?, 0),
        // Its bytes may be those of any letters.
        4 => (number(digits.get(..2)?, 2..=2)?, number(digits.get(2..)?, 2..=2)?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 3_600 + minutes * 60) as i32;
    Some((text[..at].trim_end(), if text[at..].starts_with('-') { -seconds } else { seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str, order: DateOrder) -> f64 {
        read(text, order).unwrap_or_else(|| panic!("{text} is no date")).seconds
    }

    #[test]
    fn dates_are_read_in_every_order() {
        use DateOrder::*;
        let cases = [
            ("2024-02-29", YearFirst),
            ("2024/2/29", YearFirst),
            ("29.02.2024", DayFirst),
            ("29/2/24", DayFirst),
            ("02/29/2024", MonthFirst),
            ("29-Feb-2024", DayName),
            ("Thu, 29 February 2024", DayName),
            ("20240229", YearFirst),
            ("Feb 29, 2024", NameDay),
        ];
        for (text, order) in cases {
            let moment = read(text, order).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((moment.seconds, moment.weekday, moment.has_time), (1_709_164_800.0, 3, false), "{text}");
        }
        assert_eq!(seconds("1970-01-01", YearFirst), 0.0);
        assert_eq!(seconds("1900-03-01", YearFirst), -2_203_891_200.0);
    }

    #[test]
    fn times_have_seconds_an_hour_and_an_offset() {
        use DateOrder::*;
        let base = 1_709_164_800.0;
        for (text, order, more, hour) in [
            ("2024-02-29T13:05", YearFirst, 47_100.0, 13),
            ("2024-02-29 13:05:07.25", YearFirst, 47_107.25, 13),
            ("2024-02-29T13:05:07Z", YearFirst, 47_107.0, 13),
            ("2024-02-29T13:05:07+02:00", YearFirst, 39_907.0, 13),
            ("2024-02-29T13:05:07-0530", YearFirst, 66_907.0, 13),
            ("2/29/2024 1:05 PM", MonthFirst, 47_100.0, 13),
            ("Feb 29, 2024 12:05 am", NameDay, 300.0, 0),
            ("2024-02-29 13:05:07 UTC", YearFirst, 47_107.0, 13),
            ("2024-02-29T1305", YearFirst, 47_100.0, 13),
            ("2024-02-29T13", YearFirst, 46_800.0, 13),
            ("20240229T130507", YearFirst, 47_107.0, 13),
            ("20240229T130507.25Z", YearFirst, 47_107.25, 13),
            ("20240229t130507+02:00", YearFirst, 39_907.0, 13),
            ("29-Oct-2023 13:05 UTC", DayName, 47_100.0 - 123.0 * 86_400.0, 13),
        ] {
            let moment = read(text, order).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((moment.seconds, moment.hour, moment.has_time), (base + more, hour, true), "{text}");
        }
    }

    #[test]
    fn days_that_do_not_exist_and_other_texts_are_no_dates() {
        for text in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-10",
            "1.2.3",
            "10.0.0.1",
            "12:30",
            "2024-02-29 25:00",
            "2024-02-29 1:0",
            "20230229",
            "20241301",
            "2024022",
            "2024-02-29T1",
            "2024-02-29T130",
            "2024-02-29T1399",
            "2024-02-29T13.5",
            "2024-02-29 UTC",
        ] {
            assert_eq!(orders(text), 0, "{text}");
        }
        assert!(is_day_of_digits(20_240_229.0) && has_time("20240229T13") && !has_time("29-Oct-2024"));
        for number in [20_230_229.0, 20_240_229.5, 17_991_231.0, 22_000_101.0, f64::NAN] {
            assert!(!is_day_of_digits(number), "{number}");
        }
        assert!(["28.01.41", "29-Feb-24 13:05", "1/2/24", "June 5, 24"].into_iter().all(has_short_year));
        assert!(!["2024-01-31", "28.01.1941", "20240131", "Feb 29, 2024"].into_iter().any(has_short_year));
        // In both orders.
        assert_eq!(orders("03/04/2024").count_ones(), 2);
        assert_eq!(orders("13/04/2024").count_ones(), 1);
    }

    #[test]
    fn what_looks_like_an_offset_from_utc_and_is_none_is_no_date() {
        for text in [
            "Pizza for two 12:30 -5€",
            "29 Feb 2024 12:30 -5€",
            "2024-02-29 13:05+€5",
            "2024-02-29 13:05+é5x",
            "2024-02-29 13:05+99:99",
            "2024-02-29 13:05+24:00",
            "2024-02-29 13:05-0060",
        ] {
            assert_eq!(orders(text), 0, "{text}");
            assert!(DateOrder::ALL.iter().all(|&order| read(text, order).is_none()), "{text}");
        }
        assert_eq!(orders("2024-02-29 13:05+2359").count_ones(), 1);
    }

    #[test]
    fn what_lacks_a_day_is_told_by_what_it_has() {
        assert!(["13:05", "1:05 PM", "0:30", "125:40", "13:05:07.5"].into_iter().all(is_time_alone));
        assert!(!["13", "13:5", "1:2:3", "a:30", "10:99", "18h 46m", ""].into_iter().any(is_time_alone));
        assert!(["2024-02", "2/2024", "02-2024", "1949/12"].into_iter().all(is_month));
        assert!(!["2024-13", "9/5", "2024-02-29", "0999-02", "2024"].into_iter().any(is_month));
        assert!(["2022-W52", "2022W01"].into_iter().all(is_week));
        assert!(!["2022-W54", "2022-W5", "KW52", "22-W52"].into_iter().any(is_week));
    }

    #[test]
    fn the_last_year_of_four_digits_stands_for_no_day() {
        assert!(is_never("9999-12-31", DateOrder::YearFirst) && is_never("31.12.9999", DateOrder::DayFirst));
        assert!(!is_never("9998-12-31", DateOrder::YearFirst) && !is_never("9999", DateOrder::YearFirst));
    }

    #[test]
    fn names_of_orders_bring_them_back() {
        for order in DateOrder::ALL {
            assert_eq!(DateOrder::named(order.name()), Some(order));
            assert_eq!(read(order.example(), order).map(|moment| moment.seconds), Some(1_706_659_200.0), "{order:?}");
        }
    }
}
