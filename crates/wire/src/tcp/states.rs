//! Named states with declared transitions and live counts.
//!
//! A machine declares its states and what may follow each as a table, with [`states!`](crate::states). Every change of
//! a state goes through [`enter`] or a table of counts ([`Live`]), which look it up; the latter moves the counts too.
//! An undeclared change is our own bug: tests see the typed [`Undeclared`], production stops with it.

use std::fmt;

/// A change of state that no table declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undeclared {
    /// The machine: the name of the type of its states.
    pub machine: &'static str,
    /// The state it is in.
    pub from: &'static str,
    /// The state it was told to enter.
    pub to: &'static str,
}

impl fmt::Display for Undeclared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: undeclared transition {} -> {}", self.machine, self.from, self.to)
    }
}

impl std::error::Error for Undeclared {}

/// States declared by [`states!`](crate::states).
pub trait States: Copy {
    /// The name of their type.
    const MACHINE: &'static str;
    /// Of each state, a bit for each state that may follow.
    const FOLLOWERS: &'static [u32];

    /// Its place in the declaration.
    fn index(self) -> usize;
    /// Its name, as counters show it.
    fn name(self) -> &'static str;

    /// Whether `next` may follow.
    ///
    /// # Errors
    /// No table declares it.
    fn check(self, next: Self) -> Result<(), Undeclared> {
        if Self::FOLLOWERS[self.index()] >> next.index() & 1 != 0 {
            Ok(())
        } else {
            Err(Undeclared { machine: Self::MACHINE, from: self.name(), to: next.name() })
        }
    }
}

/// Declares an enum of states, each with the states that may follow it: see [`tcp::states`](crate::tcp::states).
#[macro_export]
macro_rules! states {
    ($(#[$meta:meta])* $vis:vis enum $machine:ident {
        $($(#[$doc:meta])* $state:ident => [$($next:ident),*],)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $machine { $($(#[$doc])* $state,)+ }

        impl $machine {
            /// Every state.
            $vis const ALL: [Self; [$(Self::$state),+].len()] = [$(Self::$state),+];

            /// The state's name, as counters show it.
            #[must_use]
            $vis const fn name(self) -> &'static str {
                match self { $(Self::$state => stringify!($state),)+ }
            }
        }

        impl $crate::tcp::states::States for $machine {
            const MACHINE: &'static str = stringify!($machine);
            const FOLLOWERS: &'static [u32] = &[$(0 $(| 1 << $machine::$next as u32)*),+];

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                self.name()
            }
        }
    };
}
pub(crate) use states;

/// Changes the state of a machine of which there is one.
///
/// # Panics
/// If no table declares the change.
pub fn enter<S: States>(state: &mut S, next: S) {
    if let Err(undeclared) = state.check(next) {
        panic!("{undeclared}");
    }
    *state = next;
}

/// How many things are in each state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live<const N: usize>([u32; N]);

impl<const N: usize> Live<N> {
    pub(crate) const fn new() -> Self {
        Self([0; N])
    }

    /// `more` new things appear in `state`.
    pub(crate) fn add<S: States>(&mut self, state: S, more: u32) {
        self.0[state.index()] += more;
    }

    /// One thing changes its state, if the table declares it.
    pub(crate) fn step<S: States>(&mut self, state: &mut S, next: S) -> Result<(), Undeclared> {
        state.check(next)?;
        self.0[state.index()] -= 1;
        self.0[next.index()] += 1;
        *state = next;
        Ok(())
    }

    /// [`Live::step`]; an undeclared change stops the program.
    pub(crate) fn go<S: States>(&mut self, state: &mut S, next: S) {
        if let Err(undeclared) = self.step(state, next) {
            panic!("{undeclared}");
        }
    }

    pub(crate) fn of<S: States>(&self, state: S) -> u32 {
        self.0[state.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    states! {
        /// A lamp.
        enum Lamp {
            /// Dark.
            Off => [On],
            /// Light.
            On => [Off, Broken],
            /// For good.
            Broken => [],
        }
    }

    #[test]
    fn declared_changes_move_the_counts() {
        let mut live = Live::<{ Lamp::ALL.len() }>::new();
        let mut lamp = Lamp::Off;
        live.add(lamp, 2);
        live.go(&mut lamp, Lamp::On);
        assert_eq!(Lamp::ALL.map(|state| live.of(state)), [1, 1, 0]);
        live.go(&mut lamp, Lamp::Broken);
        assert_eq!(Lamp::ALL.map(|state| live.of(state)), [1, 0, 1]);
    }

    #[test]
    fn an_undeclared_change_is_a_typed_error_and_changes_nothing() {
        let mut live = Live::<{ Lamp::ALL.len() }>::new();
        let mut lamp = Lamp::Off;
        live.add(lamp, 1);
        let undeclared = Undeclared { machine: "Lamp", from: "Off", to: "Broken" };
        assert_eq!(live.step(&mut lamp, Lamp::Broken), Err(undeclared));
        assert_eq!((lamp, live.of(Lamp::Off)), (Lamp::Off, 1));
        assert_eq!(undeclared.to_string(), "Lamp: undeclared transition Off -> Broken");
    }

    #[test]
    #[should_panic(expected = "Lamp: undeclared transition Broken -> On")]
    fn an_undeclared_change_stops_production() {
        let mut lamp = Lamp::Broken;
        Live::<{ Lamp::ALL.len() }>::new().go(&mut lamp, Lamp::On);
    }
}
