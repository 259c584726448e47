//! What Redis runs: each script is atomic, and goes by the clock of Redis.
//!
//! One clock for all: the clocks of two gateways differ, and a window that began on one would end at another time on the other.
//! A sum is never a number in a script, because Lua's numbers are exact to 53 bits only: Redis itself adds (`HINCRBY`), and sums
//! are read and returned as text.

use std::sync::LazyLock;

use redis::Script as Hashed;

/// A script, by its source and its name on the server.
pub(super) struct Script {
    pub(super) source: &'static str,
    hashed: LazyLock<Hashed>,
}

impl Script {
    /// What the server knows it by.
    pub(super) fn sha1(&self) -> &str {
        self.hashed.get_hash()
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $source:expr;)+) => {
        $($(#[$doc])* pub(super) static $name: Script = Script {
            source: $source,
            hashed: LazyLock::new(|| Hashed::new($source)),
        };)+
        /// All of them.
        pub(super) static ALL: &[&Script] = &[$(&$name),+];
    };
}

macro_rules! clock {
    () => {
        "local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"
    };
}

/// A namespace is a hash of entries, `v` and the key for a value or `c` and the key for a counter, with the bytes of all under `b`;
/// and a sorted set of when they end, in milliseconds. Both go when the last entry has ended.
macro_rules! space {
    () => {
        concat!(
            clock!(),
            "local entries, ends, field = KEYS[1], KEYS[2], ARGV[1]
local max_entries, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])

-- A server that is short of memory may have evicted one of the two.
if redis.call('EXISTS', entries) ~= redis.call('EXISTS', ends) then
  redis.call('DEL', entries, ends)
end

local function size(name)
  if string.sub(name, 1, 1) == 'v' then
    return #name - 1 + redis.call('HSTRLEN', entries, name)
  end
  return #name - 1
end

local function remove(name)
  if redis.call('ZREM', ends, name) == 1 then
    redis.call('HINCRBY', entries, 'b', -size(name))
    redis.call('HDEL', entries, name)
  end
end

local function has_room(more, bytes)
  local held = tonumber(redis.call('HGET', entries, 'b') or '0')
  return redis.call('ZCARD', ends) + more <= max_entries and held + bytes <= max_bytes
end

-- What an entry of this size adds in the place of the one that is there.
local function added(new)
  if redis.call('ZSCORE', ends, field) then
    return 0, math.max(0, new - size(field))
  end
  return 1, new
end

-- Removes a few entries that have ended, and more if there is no room otherwise.
local function forget_ended(more, bytes)
  local removed = 0
  while removed < 512 do
    if removed >= 4 and has_room(more, bytes) then return end
    local some = removed == 0 and 4 or 64
    local gone = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, some)
    if #gone == 0 then return end
    for _, name in ipairs(gone) do remove(name) end
    removed = removed + #gone
  end
end

-- Makes room for an entry of this size, or says that there is none.
local function make_room(new)
  forget_ended(added(new))
  return has_room(added(new))
end

-- The first write, and of a kind that a server short of memory refuses: once a script has written, it may go on.
local function may_write()
  redis.call('HINCRBY', entries, 'b', 0)
end

local function insert(value, new, lasts)
  remove(field)
  redis.call('HSET', entries, field, value)
  redis.call('HINCRBY', entries, 'b', new)
  redis.call('ZADD', ends, now + lasts, field)
  local last = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIREAT', entries, last)
  redis.call('PEXPIREAT', ends, last)
end
"
        )
    };
}

/// What a gateway has open of a user is a field of a hash: the number of the note, tunnels and listeners, sessions.
macro_rules! note {
    () => {
        "local function note(value)
  local old = redis.call('HGET', KEYS[1], ARGV[1])
  local number = old and tonumber(string.match(old, '^%d+'))
  if number and number >= tonumber(ARGV[2]) then return end
  if value == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
  else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. value)
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
  end
end
"
    };
}

scripts! {
    /// The value of the field in `ARGV[1]`, or nil.
    GET = concat!(clock!(), "local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not ends or tonumber(ends) <= now then return false end
return redis.call('HGET', KEYS[1], ARGV[1])
");

    /// Stores the value `ARGV[2]` for `ARGV[3]` milliseconds; none remove it. 1 if it is stored, 0 if there is no room.
    PUT = concat!(space!(), "local lasts = tonumber(ARGV[3])
if lasts == 0 then
  remove(field)
  return 1
end
may_write()
local new = #field - 1 + #ARGV[2]
if not make_room(new) then return 0 end
insert(ARGV[2], new, lasts)
return 1
");

    /// Adds `ARGV[2]` to a counter whose window lasts `ARGV[3]` milliseconds. The sum as text, or 0 if there is no room.
    ADD = concat!(space!(), "local delta, lasts = ARGV[2], tonumber(ARGV[3])
local live = redis.call('ZSCORE', ends, field)
if live and tonumber(live) > now then
  local sum = redis.pcall('HINCRBY', entries, field, delta)
  if type(sum) == 'table' and sum.err then
    if not string.find(sum.err, 'overflow', 1, true) then return sum end
    local last = string.sub(delta, 1, 1) == '-' and '-9223372036854775808' or '9223372036854775807'
    redis.call('HSET', entries, field, last)
  end
  return redis.call('HGET', entries, field)
end
if lasts > 0 then may_write() end
if not make_room(#field - 1) then return 0 end
if lasts > 0 then
  insert(delta, #field - 1, lasts)
else
  remove(field)
end
return delta
");

    /// Notes as number `ARGV[2]` what gateway `ARGV[1]` has open of a user: `ARGV[3]`, or nothing if that is empty. For `ARGV[4]`
    /// milliseconds, unless it is noted again; not if a later number was noted before.
    NOTE = concat!(note!(), "note(ARGV[3])
return 1
");

    /// The same with one more session, if the user has no more than `ARGV[7]` with it over all gateways but those from `ARGV[8]` on:
    /// `ARGV[6]` are those of this gateway. Otherwise what it has without that session, `ARGV[5]`. First whether there is one more,
    /// then what all gateways had, as name and value in turn.
    ADMIT = concat!(note!(), "local gone = {}
for i = 8, #ARGV do gone[ARGV[i]] = true end
local all = redis.call('HGETALL', KEYS[1])
local sessions = tonumber(ARGV[6])
for i = 1, #all, 2 do
  if all[i] ~= ARGV[1] and not gone[all[i]] then
    sessions = sessions + (tonumber(string.match(all[i + 1], '^%d+ %d+ (%d+)$')) or 0)
  end
end
local admitted = sessions <= tonumber(ARGV[7])
note(admitted and ARGV[3] or ARGV[5])
table.insert(all, 1, admitted and 'yes' or 'no')
return all
");

    /// What all gateways have open of a user, as name and value in turn.
    OPEN = "return redis.call('HGETALL', KEYS[1])
";

    /// Removes what the gateways in `ARGV` had open of a user.
    FORGET = "return redis.call('HDEL', KEYS[1], unpack(ARGV))
";

    /// Renews the lease of gateway `ARGV[1]` for `ARGV[2]` milliseconds. First whether it had one, then which list of gateways holds
    /// now, and that list, unless it is the one that is known, `ARGV[3]`. So while none comes or goes, a renewal costs the same
    /// however many there are.
    RENEW = concat!(clock!(), "local ended = redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local new = redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
local list = redis.call('HGET', KEYS[2], 'list')
if ended + new > 0 or not list then
  list = ARGV[1] .. ' ' .. now
  redis.call('HSET', KEYS[2], 'list', list)
end
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[2]))
local there = list ~= ARGV[3] and redis.call('ZRANGE', KEYS[1], 0, 9999) or {}
table.insert(there, 1, list)
table.insert(there, 1, new == 0 and 'yes' or 'no')
return there
");

    /// Tells all gateways `ARGV[1]`. If `ARGV[2]` is not empty, `ARGV[3]` is kept of that user, for `ARGV[4]` milliseconds or, if that
    /// is empty, for good.
    TELL = concat!(clock!(), "local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', 'o', ARGV[1])
if ARGV[2] == '' then return id end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[3], ARGV[2])
else
  redis.call('ZADD', KEYS[3], now + tonumber(ARGV[4]), ARGV[2])
end
for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('HDEL', KEYS[2], user)
  redis.call('ZREM', KEYS[3], user)
end
return id
");

    /// A hundred orders after the one with the id `ARGV[1]`: id and order in turn.
    HEAR = "local found = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 100)) do
  table.insert(found, entry[1])
  table.insert(found, entry[2][2])
end
return found
";

    /// The id of the last order, and what is kept: user and order in turn.
    KEPT = "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local kept = redis.call('HGETALL', KEYS[2])
table.insert(kept, 1, last[1] and last[1][1] or '0-0')
return kept
";

    /// Adds the answer `ARGV[1]` to those of a question, which end after a while.
    ANSWER = "redis.call('RPUSH', KEYS[1], ARGV[1])
return redis.call('PEXPIRE', KEYS[1], 10000)
";

    /// The answers from the one with the number `ARGV[1]` on, up to a few megabytes.
    ANSWERS = "local found, bytes, from = {}, 0, tonumber(ARGV[1])
repeat
  local some = redis.call('LRANGE', KEYS[1], from, from + 7)
  for _, answer in ipairs(some) do
    table.insert(found, answer)
    bytes = bytes + #answer
  end
  from = from + 8
until #some < 8 or bytes > 8388608
return found
";

    /// Keeps the words `ARGV[1]` for `ARGV[2]` milliseconds.
    SAY = "redis.call('HSET', KEYS[1], 'w', ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
";

    /// The words that are kept under each key.
    SAID = "local said = {}
for number, key in ipairs(KEYS) do said[number] = redis.call('HGET', key, 'w') end
return said
";

    /// Ends the lease of gateway `ARGV[1]`.
    LEAVE = "redis.call('HDEL', KEYS[2], 'list')
return redis.call('ZREM', KEYS[1], ARGV[1])
";

    /// Begins a stream that ends in `ARGV[1]` milliseconds: the id of its first entry.
    BEGIN = "local id = redis.call('XADD', KEYS[1], '*', 'o', '')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return id
";

    /// `ARGV[4]` entries after the one with the id `ARGV[1]`, id and entry in turn; nil if that one is gone. Removes what is before the
    /// id `ARGV[2]`, and puts the end of the stream off by `ARGV[3]` milliseconds.
    READ = "if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return false end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
local found = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[4])) do
  table.insert(found, entry[1])
  table.insert(found, entry[2][2])
end
return found
";

    /// Adds the entry `ARGV[1]` to a stream, unless it is empty: 1. 0 if too many wait to be read, -1 if the stream has ended.
    PUBLISH = "if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if ARGV[1] == '' then return 1 end
if redis.call('XLEN', KEYS[1]) >= 128 then return 0 end
redis.call('XADD', KEYS[1], '*', 'o', ARGV[1])
return 1
";
}
