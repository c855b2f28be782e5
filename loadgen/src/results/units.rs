//! Numbers as people read them: three digits that matter, a unit, groups of three.

const KIB: f64 = 1024.0;

/// A time in microseconds as `842 µs`, `2.13 ms`, `1.50 s`.
pub(crate) fn time(microseconds: f64) -> String {
    if microseconds < 999.5 {
        format!("{microseconds:.0} µs")
    } else if microseconds < 999_500.0 {
        format!("{} ms", three_digits(microseconds / 1e3))
    } else {
        format!("{} s", three_digits(microseconds / 1e6))
    }
}

/// A time in whole microseconds, exactly.
pub(crate) fn exact_time(microseconds: f64) -> String {
    format!("{} µs", whole(microseconds.max(0.0).round() as u64))
}

/// A whole number in groups of three.
pub(crate) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many a second: whole from 100, with digits after the point below.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 99.95 {
        whole(per_second.round() as u64)
    } else if per_second.fract() == 0.0 {
        format!("{per_second:.0}")
    } else {
        three_digits(per_second)
    }
}

/// A number of cores, or any other small number: two digits after the point below 10, one below 100.
pub(crate) fn three_digits(number: f64) -> String {
    match number.abs() {
        // Never "-0.00".
        none if none < 0.005 => "0.00".to_owned(),
        small if small < 9.995 => format!("{number:.2}"),
        middling if middling < 99.95 => format!("{number:.1}"),
        _ if number < 0.0 => format!("-{}", whole(number.abs().round() as u64)),
        _ => whole(number.round() as u64),
    }
}

/// Bytes as `812 B`, `3.53 KiB`, `41.2 MiB`, `1.10 GiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes.abs() {
        few if few < KIB => format!("{bytes:.0} B"),
        some if some < KIB * KIB => format!("{} KiB", three_digits(bytes / KIB)),
        many if many < KIB * KIB * KIB => format!("{} MiB", three_digits(bytes / KIB / KIB)),
        _ => format!("{} GiB", three_digits(bytes / KIB / KIB / KIB)),
    }
}

/// A share of one as `0.4 %`; small shares keep two digits that matter, so that few errors never read as none.
pub(crate) fn share(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        0.0 => "0 %".to_owned(),
        tiny if tiny < 0.0001 => format!("{percent:.1e} %"),
        small if small < 0.01 => format!("{percent:.4} %"),
        small if small < 0.1 => format!("{percent:.3} %"),
        small if small < 1.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// `1 person`, `2 people`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", whole(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_suits_them() {
        let shown =
            [0.0, 842.0, 999.4, 999.5, 2_134.0, 9_994.0, 9_996.0, 25_007.0, 213_400.0, 999_499.0, 999_500.0, 60_000_000.0]
                .map(time);
        let wanted = [
            "0 µs", "842 µs", "999 µs", "1.00 ms", "2.13 ms", "9.99 ms", "10.0 ms", "25.0 ms", "213 ms", "999 ms", "1.00 s",
            "60.0 s",
        ];
        assert_eq!(shown, wanted);
        assert_eq!(exact_time(25_007.0), "25,007 µs");
    }

    #[test]
    fn numbers_are_in_groups_of_three() {
        assert_eq!([0, 999, 1_000, 12_345, 1_234_567].map(whole), ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!([0.0, 0.5, 12.0, 12.34, 99.95, 1_000.4].map(rate), ["0", "0.50", "12", "12.3", "100", "1,000"]);
    }

    #[test]
    fn bytes_and_shares_have_units() {
        assert_eq!([812.0, 3_612.0, 43_200_000.0, 1.2e9].map(bytes), ["812 B", "3.53 KiB", "41.2 MiB", "1.12 GiB"]);
        assert_eq!(bytes(-2_048.0), "-2.00 KiB");
        assert_eq!([-0.001, 0.0, 0.005, -1.0, -1_500.0].map(three_digits), ["0.00", "0.00", "0.01", "-1.00", "-1,500"]);
        assert_eq!(
            [0.0, 0.000_000_2, 0.000_02, 0.000_5, 0.004, 0.5].map(share),
            ["0 %", "2.0e-5 %", "0.0020 %", "0.050 %", "0.40 %", "50.0 %"]
        );
        assert_eq!(
            (counted(1, "gate", "gates"), counted(2_000, "gate", "gates")),
            ("1 gate".to_owned(), "2,000 gates".to_owned())
        );
    }
}
