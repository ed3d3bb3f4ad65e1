//! What a reactor has done for its clients, in the words of `stats`.

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        /// By the names that memcached's `stats` has for them.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: u64,)*
        }

        impl Counters {
            /// Each with its name.
            pub(crate) fn list(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// Each, in the same order.
            pub(crate) fn values(&mut self) -> impl IntoIterator<Item = &mut u64> {
                [$(&mut self.$name),*]
            }
        }
    };
}

counters! {
    curr_connections,
    total_connections,
    rejected_connections,
    cmd_get,
    cmd_set,
    cmd_flush,
    cmd_touch,
    cmd_meta,
    get_hits,
    get_misses,
    delete_misses,
    delete_hits,
    incr_misses,
    incr_hits,
    decr_misses,
    decr_hits,
    cas_misses,
    cas_hits,
    cas_badval,
    touch_hits,
    touch_misses,
    store_too_large,
    store_no_memory,
    auth_cmds,
    auth_errors,
    total_items,
    bytes_read,
    bytes_written,
}
