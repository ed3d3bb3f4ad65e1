//! Commands whole and cut, and what is none.

use proptest::prelude::*;

use super::*;

#[test]
fn a_large_argument_is_told_of_when_its_length_is_there() {
    const LARGE: usize = limits::MAX_AWAITED_BYTES + 1;
    let front = format!("*5\r\n$3\r\nSET\r\n$1\r\nk\r\n${LARGE}\r\n");
    let behind = b"$2\r\nEX\r\n$2\r\n10\r\n";
    let whole = [front.as_bytes(), &vec![b'x'; LARGE], b"\r\n", behind].concat();
    let limits = Limits { command: 100, stranger: false, begins: true };
    for cut in 1..whole.len() {
        let parsed = parse(&whole[..cut], limits);
        if cut < front.len() {
            assert!(matches!(parsed, Parsed::More(wanted) if wanted > cut), "{cut}: {parsed:?}");
        } else if cut < front.len() + LARGE + 2 {
            let Parsed::Begun(Begun { args, start, used, bytes, behind, .. }) = parsed else { panic!("{cut}") };
            assert_eq!(args.collect::<Vec<_>>(), [&b"SET"[..], b"k"]);
            assert_eq!((start, used, bytes, behind), (front.len() - 8, front.len(), LARGE, 2));
        } else {
            assert!(matches!(parsed, Parsed::TooLong(..)), "{cut}: {parsed:?}");
        }
    }
    let awaited = Limits { begins: false, ..limits };
    assert!(matches!(parse(&whole[..front.len()], awaited), Parsed::TooLong(..)));
    for cut in 0..behind.len() {
        assert_eq!(rest(&behind[..cut], 2), Ok(None));
    }
    assert_eq!((rest(behind, 2), rest(behind, 1), rest(behind, 0)), (Ok(Some(behind.len())), Ok(Some(8)), Ok(Some(0))));
    assert_eq!(rest(b"x", 1), Ok(None));
    assert_eq!(rest(b"x2\r\n", 1), Err(Wrong::NoBulk(b'x')));
}

const LIMITS: Limits = Limits { command: 1000, stranger: false, begins: false };

fn command<'a>(words: &[&'a [u8]]) -> (Vec<u8>, Vec<&'a [u8]>) {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    (bytes, words.to_vec())
}

fn wrong(bytes: &[u8]) -> Vec<u8> {
    let Parsed::Wrong(wrong) = parse(bytes, LIMITS) else { panic!("{}", bytes.escape_ascii()) };
    let mut told = Vec::new();
    wrong.tell(&mut Answer::new(&mut told, Version::Resp2));
    told
}

#[test]
fn a_command_is_its_arguments() {
    let (bytes, words) = command(&[b"SET", b"", b"a\r\nb\0"]);
    let Parsed::Command(args, used) = parse(&bytes, LIMITS) else { panic!("{:?}", parse(&bytes, LIMITS)) };
    assert_eq!((args.len(), used), (3, bytes.len()));
    assert_eq!(args.collect::<Vec<_>>(), words);
    assert_eq!(parse(b"*0\r\n*", LIMITS), Parsed::Nothing(4));
    assert_eq!(parse(b"*-7\r\n", LIMITS), Parsed::Nothing(5));
}

#[test]
fn more_is_wanted_than_there_is_and_never_too_much() {
    let (bytes, _) = command(&[b"MSET", b"key", &[b'x'; 300], b"", b"y"]);
    for cut in 1..bytes.len() {
        let Parsed::More(wanted) = parse(&bytes[..cut], LIMITS) else { panic!("at {cut}") };
        assert!(wanted > cut && wanted <= bytes.len(), "at {cut}: {wanted}");
    }
}

#[test]
fn what_is_wrong_is_told_in_the_words_of_redis() {
    for (bytes, told) in [
        (&b"*x\r\n"[..], "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*9223372036854775808\r\n", "invalid multibulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n\n1\r\n", "expected '$', got ' '"),
        (b"*1\r\n\x001\r\n", "expected '$', got '"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$4294967297\r\n", "invalid bulk length"),
        (&[b'*'; 70_000], "too big mbulk count string"),
        (&[&b"*1\r\n"[..], &[b'$'; 70_000]].concat(), "too big bulk count string"),
        (&[b'a'; 70_000], "too big inline request"),
    ] {
        assert_eq!(String::from_utf8_lossy(&wrong(bytes)), format!("-ERR Protocol error: {told}\r\n"));
    }
    let stranger = Limits { stranger: true, ..LIMITS };
    assert_eq!(parse(b"*11\r\n", stranger), Parsed::Wrong(Wrong::StrangerCount));
    assert_eq!(parse(b"*1\r\n$16385\r\n", stranger), Parsed::Wrong(Wrong::StrangerBulk));
    assert!(matches!(parse(b"*10\r\n$100\r\n", stranger), Parsed::More(_)));
}

#[test]
fn what_is_too_long_is_skipped_wherever_it_is_cut() {
    let large = [b'x'; 2000];
    let many = [&b"y"[..]; 300];
    let last: [&[u8]; 3] = [b"SET", b"k", &large];
    let first: [&[u8]; 4] = [b"SET", &large, b"$5", b""];
    for words in [&last[..], &first, &many] {
        let (bytes, _) = command(words);
        let Parsed::TooLong(skip, used) = parse(&bytes, LIMITS) else { panic!("{:?}", parse(&bytes, LIMITS)) };
        for cut in used..=bytes.len() {
            let mut skip = skip;
            let skipped = used + skip.over(&bytes[used..cut]).expect("it is a command");
            assert_eq!(skip.is_done(), cut == bytes.len());
            let behind = [&bytes[skipped..], &b"PING\r\n"[..]].concat();
            assert_eq!(skip.over(&behind).map(|more| &behind[more..]), Ok(&b"PING\r\n"[..]), "at {cut}");
        }
    }
    let (bytes, _) = command(&first);
    let Parsed::TooLong(mut skip, used) = parse(&bytes, LIMITS) else { panic!("it is too long") };
    let garbage = [&bytes[used..used + 2002], b"oops\r\n"].concat();
    assert_eq!(skip.over(&garbage), Err(Wrong::NoBulk(b'o')));
}

#[test]
fn lines_are_words_with_or_without_quotes() {
    let words = |line: &[u8]| {
        let mut work = vec![1, 2, 3];
        unquote(line, &mut work).map(|args| args.map(<[u8]>::to_vec).collect::<Vec<_>>())
    };
    let said = |words: &[&[u8]]| Ok(words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
    assert_eq!(words(b" SET  k\tv "), said(&[b"SET", b"k", b"v"]));
    assert_eq!(words(br#"a "b \"c\n\x41\xzz" 'd\'e\n' """#), said(&[b"a", b"b \"c\nAxzz", b"d'e\\n", b""]));
    assert_eq!(words(b"a b\"c d\""), said(&[b"a", b"bc d"]));
    for line in [&b"a \"b"[..], b"a \"b\"c", b"a 'b", b"a 'b'c", b"\""] {
        assert_eq!(words(line), Err(Wrong::Quotes), "{}", line.escape_ascii());
    }
    assert_eq!(parse(b"PING\r\nX", LIMITS), Parsed::Inline(b"PING", 6));
    assert_eq!(parse(b"PING\n", LIMITS), Parsed::Inline(b"PING", 5));
    assert_eq!(parse(b" \r\n", LIMITS), Parsed::Nothing(3));
    assert_eq!(parse(b"PING\r", LIMITS), Parsed::More(6));
}

#[test]
fn numbers_are_those_that_would_be_written() {
    for number in [0, 1, -1, 9, 10, i64::MAX, i64::MIN, 1_234_567_890] {
        let text = number.to_string();
        assert_eq!(integer(text.as_bytes()), Some(number));
    }
    let none = ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "9223372036854775808", "-9223372036854775809"];
    for text in none.into_iter().chain(["18446744073709551617", "999999999999999999999999"]) {
        assert_eq!(integer(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn answers_of_both_versions() {
    let told = |version| {
        let mut bytes = Vec::new();
        let mut answer = Answer::new(&mut bytes, version);
        answer.simple("OK");
        answer.error(&[b"ERR a\nb '", b"c", b"'\r\n"]);
        answer.integer(-5);
        answer.bulk(b"x");
        answer.display(format_args!("{}-{}", 1, 2));
        answer.text(b"t");
        answer.null();
        answer.array(2);
        answer.map(2);
        answer.set(2);
        String::from_utf8(bytes).expect("text")
    };
    let both = "+OK\r\n-ERR a b 'c'\r\n:-5\r\n$1\r\nx\r\n$3\r\n1-2\r\n";
    assert_eq!(told(Version::Resp2), format!("{both}$1\r\nt\r\n$-1\r\n*2\r\n*4\r\n*2\r\n"));
    assert_eq!(told(Version::Resp3), format!("{both}=5\r\ntxt:t\r\n_\r\n*2\r\n%2\r\n~2\r\n"));
}

#[test]
fn patterns_of_keys() {
    let is = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes(), &mut Fuel(10_000));
    for (pattern, name) in [
        ("", ""),
        ("*", ""),
        ("*", "any"),
        ("a*c", "abbc"),
        ("a*c*e", "abcde"),
        ("h?llo", "hello"),
        ("h[ae]llo", "hallo"),
        ("h[^e]llo", "hallo"),
        ("h[a-c]llo", "hbllo"),
        ("h[c-a]llo", "hbllo"),
        ("\\*x", "*x"),
        ("[\\]]", "]"),
        ("**a**", "bab"),
        ("[a", "a"),
    ] {
        assert_eq!(is(pattern, name), Some(true), "{pattern} {name}");
    }
    for (pattern, name) in [("", "a"), ("a", ""), ("?", ""), ("a*c", "abbd"), ("h[^e]llo", "hello"), ("\\*x", "ax")] {
        assert_eq!(is(pattern, name), Some(false), "{pattern} {name}");
    }
    // What is exponential elsewhere is quick here, and what is long ends when its time is up.
    assert_eq!(is(&"a*".repeat(50), &"a".repeat(49)), Some(false));
    let (pattern, name) = ("*a".repeat(50_000) + "b", "a".repeat(60_000));
    assert_eq!(is(&pattern, &name), None);
    assert_eq!(matches(&b"[".repeat(100_000), b"x", &mut Fuel(10_000)), None);
}

proptest! {
    #[test]
    fn bytes_by_chance_are_no_harm(bytes in prop::collection::vec(any::<u8>(), 1..200), at in 0usize..50) {
        let near = [&b"*3\r\n$3\r\nSET\r\n$2\r\nab\r\n$4\r\nabcd\r\n"[..at.min(31)], &bytes].concat();
        for bytes in [&bytes, &near] {
            match parse(bytes, LIMITS) {
                Parsed::Command(args, used) => prop_assert!(used <= bytes.len() && args.count() > 0),
                Parsed::Inline(line, used) => {
                    prop_assert!(used <= bytes.len());
                    let _ = unquote(line, &mut Vec::new());
                }
                Parsed::TooLong(mut skip, used) => {
                    let skipped = skip.over(&bytes[used..]).unwrap_or(0);
                    prop_assert!(used + skipped <= bytes.len());
                }
                Parsed::Nothing(used) => prop_assert!(used > 0 && used <= bytes.len()),
                Parsed::More(wanted) => prop_assert!(wanted > bytes.len()),
                Parsed::Begun(_) => panic!("it was not asked for"),
                Parsed::Wrong(_) => {}
            }
        }
    }

    #[test]
    fn what_is_written_is_read(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..12)) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let (bytes, words) = command(&words);
        match parse(&bytes, LIMITS) {
            Parsed::Command(args, used) => {
                prop_assert_eq!(used, bytes.len());
                prop_assert_eq!(args.collect::<Vec<_>>(), words);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
