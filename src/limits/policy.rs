//! Bounds of the policy: rules, lists, groups, and their names.

/// Rules. Each has an id for the life of the process, of which there are 65,535: this leaves room for all of them to be
/// renamed three times.
pub const RULES_MAX: usize = 16_384;
/// Bytes of the name of a rule, a list or a group: records, labels and tables carry it.
pub const RULE_NAME_MAX: usize = 64;
/// Values of one condition of a rule, and names or blocks that a list has in the configuration: what is longer belongs into a
/// list's file.
pub const RULE_VALUES_MAX: usize = 65_536;
/// Schedules of one rule: each is looked at once a second.
pub const SCHEDULES_MAX: usize = 64;
/// Bytes of the name of a time zone: IANA's have 30.
pub const ZONE_NAME_MAX: usize = 64;
/// Keys that a reload tells of: thousands of rules may change at once.
pub const RELOAD_CHANGES_TOLD: usize = 1_000;
/// Characters of a key's value that it tells.
pub const RELOAD_VALUE_CHARS: usize = 1_024;
/// For how many seconds rules are kept that others have replaced: workers take a turn to go over.
pub const RETIRED_RULES_SECONDS: u32 = 10;
/// Lists.
pub const LISTS_MAX: usize = 1_024;
/// Unknown users of one condition that `check` names one by one.
pub const UNKNOWN_USERS_NAMED: usize = 4;
/// Users whose names an unknown one is compared with, to tell which was meant.
pub const USERS_COMPARED: usize = 10_000;
/// Groups.
pub const GROUPS_MAX: usize = 65_536;
/// Users of one group.
pub const GROUP_MEMBERS_MAX: usize = 1 << 20;
/// Bytes of a list's file: two million names of usual length.
pub const LIST_FILE_BYTES_MAX: u64 = 64 << 20;
/// Names and blocks of all lists together: with all that is made of them some 500 MB.
pub const LIST_ENTRIES_MAX: usize = 2_000_000;
/// Bytes of one line of a list's file: a name in its longest spelling, and a comment.
pub const LIST_LINE_BYTES_MAX: usize = 4_096;
/// Rules or limits whose counts are made at once, when the first of them is counted: 8 or 12 KiB for each worker.
pub const NUMBERED_CHUNK: usize = 256;
/// Rules that `/api/v1/stats` tells of: those with the most hits.
pub const RULES_SHOWN: usize = 20;
/// Addresses of which one association remembers what rules say, a power of two: 3 KiB. Of others they are asked anew.
pub const UDP_VERDICTS: usize = 64;

const _: () = assert!(UDP_VERDICTS.is_power_of_two());
const _: () = assert!(RULES_MAX * 4 <= 1 << 16, "rules that are renamed have other ids");
