//! What a reactor has done for its clients, in the words of `stats`.
//!
//! Counters only grow, for those who look at how fast they do. What `stats reset` and `CONFIG RESETSTAT` set back is
//! what clients are told: the difference to what they were then.

macro_rules! counters {
    ($(told { $($(#[$told_doc:meta])* $told:ident,)* } more { $($(#[$more_doc:meta])* $more:ident,)* })*) => {
        /// By the names that memcached's `stats` has for them, as far as it has any.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($($(#[$told_doc])* pub $told: u64,)* $($(#[$more_doc])* pub $more: u64,)*)*
        }

        impl Counters {
            /// Those that memcached has, each with its name.
            pub(crate) fn told(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$($((stringify!($told), self.$told)),*)*].into_iter()
            }

            /// All of them.
            pub(crate) fn values(&mut self) -> impl IntoIterator<Item = &mut u64> {
                [$($(&mut self.$told,)* $(&mut self.$more,)*)*]
            }
        }
    };
}

counters! {
    told {
        /// Clients that are connected: the only one that does not only grow.
        curr_connections,
        /// Clients that came.
        total_connections,
        /// Clients that were one too many.
        rejected_connections,
        /// Keys that were asked for.
        cmd_get,
        /// Values that were to be stored.
        cmd_set,
        /// Times that everything was to be taken out.
        cmd_flush,
        /// Keys whose expiry was to be changed.
        cmd_touch,
        /// Meta commands.
        cmd_meta,
        /// Keys that were asked for and there.
        get_hits,
        /// Keys that were asked for and not there.
        get_misses,
        /// Keys that were to be deleted and not there.
        delete_misses,
        /// Keys that were deleted.
        delete_hits,
        /// Numbers that were to be added to and not there.
        incr_misses,
        /// Numbers that were added to.
        incr_hits,
        /// Numbers that were to be subtracted from and not there.
        decr_misses,
        /// Numbers that were subtracted from.
        decr_hits,
        /// Values to be replaced that were not there.
        cas_misses,
        /// Values that were replaced as they were those that the client knew.
        cas_hits,
        /// Values that were not replaced, as others had changed them.
        cas_badval,
        /// Keys whose expiry was changed.
        touch_hits,
        /// Keys whose expiry was to be changed and that were not there.
        touch_misses,
        /// Values that were too large.
        store_too_large,
        /// Values for which there was no room.
        store_no_memory,
        /// Times that somebody said who it is.
        auth_cmds,
        /// Times that this was wrong.
        auth_errors,
        /// Values that were stored.
        total_items,
        /// Bytes of commands.
        bytes_read,
        /// Bytes of answers.
        bytes_written,
    }
    more {
        /// Commands of Redis clients.
        resp_commands,
        /// Clients that were disconnected as they did not read their answers.
        unread_connections,
        /// Values that were sent from where they lie.
        loans,
    }
}

/// What a reactor has, beside what its store has; as it was at the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Bytes of segments that are needed as they are: something is received there, or sent from there.
    pub pinned_bytes: u64,
    /// Memory of commands that are not whole, and of answers that are not sent.
    pub buffer_bytes: u64,
    /// Whether items of a pool are still to be found: of all reactors, how many find them.
    pub recovering: u64,
    /// Items of a pool that were found again at the start.
    pub found_items: u64,
    /// Older items of a key, which a crash had left unmarked.
    pub found_stale: u64,
    /// Segments that ended with an item that was not whole.
    pub found_torn: u64,
    /// Items for which the table had no room.
    pub found_dropped: u64,
    /// Times that a durable pool was made so before anybody was told.
    pub syncs: u64,
    /// Operations in a second.
    pub operations_rate: u64,
    /// Bytes of commands in a second.
    pub received_rate: u64,
    /// Bytes of answers in a second.
    pub sent_rate: u64,
    /// Lines of the command log for which there was no room.
    pub log_dropped: u64,
}

impl Gauges {
    /// All of them.
    pub(crate) fn values(&mut self) -> impl IntoIterator<Item = &mut u64> {
        let Self { pinned_bytes, buffer_bytes, recovering, syncs, log_dropped, .. } = self;
        let Self { found_items, found_stale, found_torn, found_dropped, .. } = self;
        let Self { operations_rate, received_rate, sent_rate, .. } = self;
        let rates = [operations_rate, received_rate, sent_rate];
        let found = [found_items, found_stale, found_torn, found_dropped];
        [pinned_bytes, buffer_bytes, recovering, syncs, log_dropped].into_iter().chain(found).chain(rates)
    }
}
