//! Patterns of keys: `*`, `?`, `[a-z]`, `[^a]`, and `\` before what is meant as it is.
//!
//! A star is tried at one place after the other, and only the last one: nothing is nested, and the steps are at most
//! the product of both lengths. They are counted, too: see [`Fuel`].

/// How many steps comparisons may still take.
#[derive(Clone, Copy, Debug)]
pub struct Fuel(pub u64);

/// Whether a pattern is that of a name; `None` if it was not found out in time.
#[must_use]
pub fn matches(pattern: &[u8], name: &[u8], fuel: &mut Fuel) -> Option<bool> {
    let (mut at, mut seen) = (0, 0);
    // Behind the last star, and the first byte that it does not stand for.
    let mut star: Option<(usize, usize)> = None;
    loop {
        fuel.0 = fuel.0.checked_sub(1)?;
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, seen));
            continue;
        }
        let Some(&byte) = name.get(seen) else { return Some(at == pattern.len()) };
        let fits = if at < pattern.len() { one(&pattern[at..], byte, fuel)? } else { None };
        if let Some(used) = fits {
            at += used;
            seen += 1;
        } else if let Some((behind, from)) = star {
            (at, seen) = (behind, from + 1);
            star = Some((at, seen));
        } else {
            return Some(false);
        }
    }
}

/// How many bytes of the pattern stand for this byte; `None` within if they do not, around it if there is no time.
fn one(pattern: &[u8], byte: u8, fuel: &mut Fuel) -> Option<Option<usize>> {
    Some(match pattern {
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (is_in, used) = is_in_class(class, byte);
            fuel.0 = fuel.0.checked_sub(used as u64)?;
            is_in.then_some(1 + used)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    })
}

/// Whether a byte is in the class that begins here, and the bytes of the class with its end, if it has one.
fn is_in_class(class: &[u8], byte: u8) -> (bool, usize) {
    let inverted = class.first() == Some(&b'^');
    let (mut at, mut is_in) = (usize::from(inverted), false);
    loop {
        let used = match class[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                is_in |= escaped == byte;
                2
            }
            [first, b'-', last, ..] => {
                is_in |= (first.min(last)..=first.max(last)).contains(&byte);
                3
            }
            [only, ..] => {
                is_in |= only == byte;
                1
            }
        };
        at += used;
    }
    (is_in != inverted, at)
}
