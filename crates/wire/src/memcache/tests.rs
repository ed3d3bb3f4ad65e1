//! Every command, whole and cut, and what is none.

use proptest::prelude::*;

use super::*;

const MAX: usize = 1000;

fn one(bytes: &[u8]) -> Command<'_> {
    match parse(bytes, MAX) {
        Parsed::Command(command, used) if used == bytes.len() => command,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn wrong(bytes: &[u8]) -> (Wrong, usize, usize) {
    match parse(bytes, MAX) {
        Parsed::Wrong(Refused { wrong, used, skip, .. }) => (wrong, used, skip),
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

#[test]
fn commands() {
    let Command::Get { keys, cas: false, touch: None } = one(b"get  a bb \r\n") else { panic!("a get") };
    assert_eq!(keys.collect::<Vec<_>>(), [&b"a"[..], b"bb"]);
    assert!(matches!(one(b"gets a\n"), Command::Get { cas: true, touch: None, .. }));
    assert!(matches!(one(b"gat 10 a b\r\n"), Command::Get { cas: false, touch: Some(10), .. }));
    assert!(matches!(one(b"gats -1 a\r\n"), Command::Get { cas: true, touch: Some(-1), .. }));
    let set = |verb, quiet| Command::Store { verb, key: b"k", flags: 7, exptime: -60, value: b"a\r\nb", quiet };
    assert_eq!(one(b"set k 7 -60 4\r\na\r\nb\r\n"), set(Verb::Set, false));
    assert_eq!(one(b"append k 7 -60 4 noreply\r\na\r\nb\r\n"), set(Verb::Append, true));
    assert_eq!(one(b"cas k 7 -60 4 99 noreply\r\na\r\nb\r\n"), set(Verb::Cas(99), true));
    assert_eq!(one(b"incr n 5\r\n"), Command::Count { key: b"n", by: 5, down: false, quiet: false });
    assert_eq!(one(b"decr n 5 noreply\r\n"), Command::Count { key: b"n", by: 5, down: true, quiet: true });
    assert_eq!(one(b"delete k\r\n"), Command::Delete { key: b"k", quiet: false });
    assert_eq!(one(b"delete k 0 noreply\r\n"), Command::Delete { key: b"k", quiet: true });
    assert_eq!(one(b"touch k 3 noreply\r\n"), Command::Touch { key: b"k", exptime: 3, quiet: true });
    assert_eq!(one(b"flush_all\r\n"), Command::FlushAll { delay: 0, quiet: false });
    assert_eq!(one(b"flush_all 10 noreply\r\n"), Command::FlushAll { delay: 10, quiet: true });
    assert_eq!(one(b"stats items\r\n"), Command::Stats(Some(b"items")));
    assert_eq!(
        [one(b"version\r\n"), one(b"mn\r\n"), one(b"quit\r\n")],
        [Command::Version, Command::MetaNoop, Command::Quit]
    );
}

#[test]
fn what_is_wrong_is_said_and_the_stream_goes_on() {
    assert_eq!(wrong(b"GET a\r\n"), (Wrong::Unknown, 7, 0));
    assert_eq!(wrong(b"\r\n"), (Wrong::Unknown, 2, 0));
    assert_eq!(wrong(b"get\r\n"), (Wrong::Unknown, 5, 0));
    let long = [b"get ".to_vec(), vec![b'k'; 251], b"\r\n".to_vec()].concat();
    assert_eq!(wrong(&long), (Wrong::Format, long.len(), 0));
    assert_eq!(wrong(b"set k 0 0 -1\r\n"), (Wrong::Format, 14, 0));
    assert_eq!(wrong(b"set k -1 0 1\r\n"), (Wrong::Format, 14, 0));
    assert_eq!(wrong(b"set k 0 0 1001\r\nabc"), (Wrong::TooLarge, 16, 1003));
    assert_eq!(wrong(b"set k 0 0 1\r\nabc\r\n"), (Wrong::Chunk, 16, 0));
    assert_eq!(wrong(b"incr k -1\r\n"), (Wrong::Delta, 11, 0));
    assert_eq!(wrong(b"incr k 18446744073709551616\r\n"), (Wrong::Delta, 29, 0));
    assert_eq!(wrong(b"touch k soon\r\n"), (Wrong::Exptime, 14, 0));
    assert_eq!(wrong(b"delete k 5\r\n"), (Wrong::DeleteUsage, 12, 0));
    assert_eq!(parse(&vec![b'x'; MAX_LINE_BYTES], MAX), Parsed::Endless);
    // Or a value behind it would be more than is kept of a command.
    let spaces = [b"set k 0 0 5".to_vec(), vec![b' '; MAX_LINE_BYTES], b"\r\n".to_vec()].concat();
    assert_eq!(parse(&spaces, MAX), Parsed::Endless);
    let gets = [b"get".to_vec(), b" k".repeat(MAX_LINE_BYTES), b"\r\n".to_vec()].concat();
    assert!(matches!(parse(&gets, MAX), Parsed::Command(..)));
    assert_eq!(parse(&[b"get".to_vec(), vec![b' '; MAX_GET_LINE_BYTES]].concat(), MAX), Parsed::Endless);
}

#[test]
fn a_command_cut_anywhere_waits_for_the_rest() {
    for whole in [&b"get a bb\r\n"[..], b"set k 7 -60 4 noreply\r\na\r\nb\r\n", b"cas k 0 0 0 1\r\n\r\n"] {
        for cut in 0..whole.len() {
            let Parsed::More(wanted) = parse(&whole[..cut], MAX) else { panic!("cut at {cut}") };
            assert!(wanted > cut && wanted <= whole.len(), "{wanted} at {cut}");
        }
        let more = [whole, b"get x"].concat();
        assert!(matches!(parse(&more, MAX), Parsed::Command(_, used) if used == whole.len()));
    }
}

#[test]
fn a_large_value_is_told_of_when_its_line_is_there() {
    const LIMIT: usize = MAX_AWAITED_BYTES + 2;
    let large = MAX_AWAITED_BYTES + 1;
    for (line, stale, is_quiet) in [
        (format!("set k 7 60 {large}\r\n"), Some(&b"k"[..]), false),
        (format!("set k 7 60 {large} noreply\r\n"), Some(&b"k"[..]), true),
        (format!("append k 7 60 {large}\r\n"), None, false),
        (format!("ms aw== {large} b T60\r\n"), Some(b"k"), false),
    ] {
        let whole = [line.as_bytes(), &vec![b'x'; large], b"\r\n"].concat();
        for cut in 0..whole.len() {
            let parsed = parse(&whole[..cut], LIMIT);
            if cut < line.len() {
                assert!(matches!(parsed, Parsed::More(wanted) if wanted <= line.len()), "{cut}: {parsed:?}");
                continue;
            }
            let Parsed::Begun(Begun { command, used, bytes, key, quiet, stale: told }) = parsed else {
                panic!("{cut}")
            };
            assert_eq!((used, bytes, quiet), (line.len(), large, is_quiet));
            assert_eq!(key.bytes(&mut [0; _]), b"k");
            assert_eq!(told.map(|key| key.bytes(&mut [0; _]).to_vec()).as_deref(), stale);
            assert!(matches!(command, Command::Store { value: b"", .. } | Command::Meta { value: b"", .. }));
        }
        assert!(matches!(parse(&whole, LIMIT), Parsed::Command(_, used) if used == whole.len()));
        assert!(matches!(parse(line.as_bytes(), large - 1), Parsed::Wrong(Refused { wrong: Wrong::TooLarge, .. })));
    }
    let awaited = format!("set k 7 60 {MAX_AWAITED_BYTES}\r\n");
    assert_eq!(parse(awaited.as_bytes(), LIMIT), Parsed::More(awaited.len() + LIMIT));
}

proptest! {
    #[test]
    fn any_bytes_are_something(bytes in prop::collection::vec(prop_oneof![
        Just(b' '), Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'9'), b'a'..=b'z', any::<u8>()
    ], 0..80), verb in prop_oneof![Just(""), Just("set "), Just("cas "), Just("get "), Just("gat "), Just("delete ")]) {
        let bytes = [verb.as_bytes(), &bytes].concat();
        match parse(&bytes, MAX) {
            Parsed::More(wanted) => prop_assert!(wanted > bytes.len() && wanted <= bytes.len() + MAX + 2),
            Parsed::Command(_, used) | Parsed::Wrong(Refused { used, .. }) => {
                prop_assert!(used > 0 && used <= bytes.len());
            }
            Parsed::Begun(_) => prop_assert!(false, "it is more than the limit"),
            Parsed::Endless => prop_assert!(false, "it is short"),
            Parsed::Binary => prop_assert_eq!(bytes[0], 0x80),
        }
    }
}

fn meta_of(bytes: &[u8]) -> (Meta<'_>, &[u8]) {
    let Command::Meta { meta, value } = one(bytes) else { panic!("a meta command: {}", bytes.escape_ascii()) };
    (meta, value)
}

#[test]
fn meta_commands_have_flags_in_any_order() {
    let (meta, _) = meta_of(b"mg k v t  O12\r\n");
    assert_eq!((meta.verb, meta.key.bytes(&mut [0; _])), (MetaVerb::Get, &b"k"[..]));
    assert_eq!(meta.flags().collect::<Vec<_>>(), [&b"v"[..], b"t", b"O12"]);
    assert!(meta.options().value && !meta.options().quiet);
    let (meta, value) = meta_of(b"ms Zm9v 3 T30 F7 C9 b I q\r\na\nb\r\n");
    let options = meta.options();
    assert_eq!((meta.key.bytes(&mut [0; _]), value), (&b"foo"[..], &b"a\nb"[..]));
    assert_eq!((options.exptime, options.flags, options.verb()), (Some(30), 7, Some(Verb::Cas(9))));
    assert!(options.encoded && options.stale && options.quiet);
    let verb = |flags: &str| meta_of(format!("ms k 0 {flags}\r\n\r\n").as_bytes()).0.options().verb();
    assert_eq!(
        [verb("ME C1"), verb("MA"), verb("MP"), verb("MR"), verb("MR C2"), verb("MS")],
        [
            Some(Verb::Add),
            Some(Verb::Append),
            Some(Verb::Prepend),
            Some(Verb::Replace),
            Some(Verb::Cas(2)),
            Some(Verb::Set)
        ]
    );
    let (meta, _) = meta_of(b"ma n M- D5 J7 N-1 R0\r\n");
    let options = meta.options();
    assert_eq!((options.delta, options.initial, options.down()), (5, 7, Some(true)));
    assert_eq!((options.vivify, options.recache, options.exptime), (Some(-1), Some(0), None));
    assert_eq!(meta_of(b"md k q C18446744073709551615\r\n").0.options().cas, Some(u64::MAX));
    assert_eq!(meta_of(b"me Zm9v b\r\n").0.key.bytes(&mut [0; _]), b"foo");
    assert_eq!(meta_of(b"me Zm9v bb no-flag\r\n").0.key.bytes(&mut [0; _]), b"Zm9v");
    // What nobody has checked is nobody's option.
    assert_eq!(meta_of(b"me Zm9v b Dx Z q q\r\n").0.flags().count(), 0);
}

#[test]
fn what_is_wrong_with_a_meta_command() {
    let long = vec![b'k'; limits::MAX_KEY_BYTES + 1];
    assert_eq!(wrong(&[b"mg ", &long[..], b"\r\n"].concat()).0, Wrong::Format);
    for (line, expected) in [
        ("mg", Wrong::Unknown),
        ("me", Wrong::Format),
        ("me k b", Wrong::Format),
        ("mg k s s", Wrong::DuplicateFlag),
        ("mg k E", Wrong::InvalidFlag),
        ("mg k noreply", Wrong::InvalidFlag),
        ("mg k Tx Jx", Wrong::Initial),
        ("mg k Jx b", Wrong::KeyEncoding),
        ("mg k b Jx", Wrong::Initial),
        ("mg k Cx Fx", Wrong::FlagValue),
        ("mg k Fx", Wrong::Format),
        ("mg k Mxx", Wrong::ModeLength),
        ("mg k Dx", Wrong::DeltaFlag),
        ("md k s s", Wrong::Flags),
        ("ma k MX", Wrong::CountMode),
        ("mg k O12345678901234567890123456789012", Wrong::LongOpaque),
        ("mg k a b c d e f g h i j k l m n o p q r", Wrong::ManyFlagsOfGet),
        ("md k a b c d e f g h i j k l m n o p q r", Wrong::ManyFlags),
        ("ms k", Wrong::Format),
        ("ms k -1", Wrong::Format),
        ("ms k 2147483646", Wrong::Format),
    ] {
        assert_eq!(wrong(format!("{line}\r\n").as_bytes()), (expected, line.len() + 2, 0), "{line}");
    }
    // The value behind it is no command.
    assert_eq!(wrong(b"ms k 5 MX\r\n"), (Wrong::SetMode, 11, 7));
    assert_eq!(wrong(b"ms k 5 s s\r\n"), (Wrong::DuplicateFlag, 12, 7));
    assert_eq!(wrong(b"ms k 2\r\nabc\r\n"), (Wrong::Chunk, 12, 0));
    let Parsed::Wrong(Refused { stale: Some(stale), skip, .. }) = parse(b"ms Zm9v 2000 b MA\r\n", MAX) else {
        panic!("it is too large")
    };
    assert_eq!((stale.bytes(&mut [0; _]), skip), (&b"foo"[..], 2002));
}
