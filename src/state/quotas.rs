//! The store of what was used of quotas: one file of SQLite, of which every row and every batch is either whole or not there.
//!
//! A batch is in the file once it is committed, be it that the power fails: its journal (WAL) is synced with each. The store
//! is one process's alone, so that nothing of it is mapped into memory, where a full disk would be a signal.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blake2::{Blake2s256, Digest};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Rows, params};

use super::directory::StateDir;
use crate::limits;
use crate::sys::files;

/// The file's name, and what is behind it while it is made.
const FILE: &str = "quotas.db";
const UNFINISHED: &str = "quotas.db.new";
/// What stands in its head, so that nothing else is taken for it.
const APPLICATION: i32 = 0x6f75_7466;
/// Which version of the format this is. A newer one is left alone.
const FORMAT: i32 = 1;

/// What a subject used of a quota in one period. `sum` is over all the rest: SQLite does not see a bit that the disk has
/// turned in a number.
const TABLE: &str = "CREATE TABLE used (
    quota TEXT NOT NULL, holder TEXT NOT NULL, period INTEGER NOT NULL, up INTEGER NOT NULL, down INTEGER NOT NULL,
    sum INTEGER NOT NULL, PRIMARY KEY (quota, holder)) STRICT, WITHOUT ROWID";
const CHANGE: &str =
    "UPDATE used SET period = ?3, up = ?4, down = ?5, sum = ?6 WHERE quota = ?1 AND holder = ?2";
const ADD: &str = "INSERT INTO used VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const REMOVE: &str = "DELETE FROM used WHERE quota = ?1 AND holder = ?2";
const ALL: &str = "SELECT quota, holder, period, up, down, sum FROM used";
const OF_ONE: &str = "SELECT quota, holder, period, up, down, sum FROM used WHERE quota = ?1";
/// The last of the next so many rows of a quota.
const STEP: &str =
    "SELECT holder FROM used WHERE quota = ?1 AND holder > ?2 ORDER BY holder LIMIT 1 OFFSET ?3";
const SWEEP: &str = "DELETE FROM used WHERE quota = ?1 AND holder > ?2 AND holder <= ?3 AND period < ?4";
const SWEEP_LAST: &str = "DELETE FROM used WHERE quota = ?1 AND holder > ?2 AND period < ?3";
const REMOVE_ALL: &str = "DELETE FROM used WHERE quota = ?1";

/// What another try may find otherwise.
const OF_THE_MOMENT: [ErrorCode; 4] =
    [ErrorCode::SystemIoFailure, ErrorCode::CannotOpen, ErrorCode::OutOfMemory, ErrorCode::ReadOnly];

/// What one subject used of one quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptUse {
    /// The quota's limit, by its name.
    pub quota: Arc<str>,
    /// Who used it, as text.
    pub holder: String,
    /// When the period began, in seconds since 1970.
    pub period: i64,
    /// Bytes from clients.
    pub up: u64,
    /// Bytes to clients.
    pub down: u64,
}

/// The store, open.
#[derive(Debug)]
pub struct QuotaStore {
    db: Connection,
    path: PathBuf,
    /// Which file it is.
    file: (u64, u64),
    rows: u64,
}

/// A store, and what it had.
#[derive(Debug)]
pub struct StoreOpened {
    /// The store, ready to be written.
    pub store: QuotaStore,
    /// What of it could not be used.
    pub set_aside: Option<SetAside>,
}

/// A store that could not be used as it was.
#[derive(Debug)]
pub struct SetAside {
    /// Why not.
    pub cause: QuotaStoreError,
    /// Where it is now.
    pub path: PathBuf,
    /// Rows of it that could be read, and are in the new one.
    pub rescued: u64,
}

/// Why a store cannot be had, read or written.
#[derive(Debug)]
pub enum QuotaStoreError {
    /// It is of a newer version of this program.
    Newer(i32),
    /// Its contents are not what was written.
    Corrupt(String),
    /// There is no room for it.
    Full(String),
    /// Another program has it open.
    Busy,
    /// The file cannot be had or made.
    File(io::Error),
    /// SQLite says so.
    Failed(rusqlite::Error),
}

impl fmt::Display for QuotaStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuotaStoreError::Newer(format) => write!(
                f,
                "was written by a newer version (its format is {format}, this version knows {FORMAT} at most)"
            ),
            QuotaStoreError::Corrupt(what) => write!(f, "is corrupt: {what}"),
            QuotaStoreError::Full(what) => write!(f, "has no room: {what}"),
            QuotaStoreError::Busy => f.write_str("is open in another program"),
            QuotaStoreError::File(error) => error.fmt(f),
            QuotaStoreError::Failed(error) => error.fmt(f),
        }
    }
}

impl QuotaStoreError {
    /// Whether it is the contents that are wrong. What disk, memory or rights refuse for now is no reason to begin anew.
    fn is_of_contents(&self) -> bool {
        match self {
            QuotaStoreError::Failed(error) => {
                error.sqlite_error_code().is_none_or(|code| !OF_THE_MOMENT.contains(&code))
            }
            other => matches!(other, QuotaStoreError::Corrupt(_)),
        }
    }
}

impl std::error::Error for QuotaStoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            QuotaStoreError::File(error) => Some(error),
            QuotaStoreError::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for QuotaStoreError {
    fn from(error: rusqlite::Error) -> QuotaStoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                QuotaStoreError::Corrupt(error.to_string())
            }
            Some(ErrorCode::DiskFull) => QuotaStoreError::Full(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => QuotaStoreError::Busy,
            _ => QuotaStoreError::Failed(error),
        }
    }
}

impl From<io::Error> for QuotaStoreError {
    fn from(error: io::Error) -> QuotaStoreError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                QuotaStoreError::Full(error.to_string())
            }
            _ => QuotaStoreError::File(error),
        }
    }
}

impl QuotaStore {
    /// Where it stands.
    pub fn path(directory: &StateDir) -> PathBuf {
        directory.file(FILE)
    }

    /// Opens the store, or makes one, and hands over all that is in it. One that cannot be read is set aside under another
    /// name, and what could be read of it is in the new one; its time stands behind its name.
    ///
    /// # Errors
    /// It is of a newer version, or neither can it be opened nor another be made.
    pub fn open(
        directory: &StateDir,
        time: &str,
        mut take: impl FnMut(KeptUse),
    ) -> Result<StoreOpened, QuotaStoreError> {
        let path = QuotaStore::path(directory);
        // A link to nothing is a store on a disk that is not there now.
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // The journal of a store that somebody took away would be read into the new one.
            aside(directory, time)?;
            QuotaStore::make(directory, &[])?;
            let store = QuotaStore::put_in_place(directory, 0)?;
            return Ok(StoreOpened { store, set_aside: None });
        }
        let mut kept = Vec::new();
        let opened = QuotaStore::existing(&path).and_then(|store| {
            store.check()?;
            store.read(|one| kept.push(one))?;
            Ok(QuotaStore { rows: kept.len() as u64, ..store })
        });
        let cause = match opened {
            Ok(store) => {
                kept.into_iter().for_each(take);
                return Ok(StoreOpened { store, set_aside: None });
            }
            Err(error) if !error.is_of_contents() => return Err(error),
            Err(error) => error,
        };
        if kept.is_empty() {
            // The check of the whole found something, where rows may be right all the same.
            let rescue = QuotaStore::existing(&path).and_then(|store| store.read(|one| kept.push(one)));
            drop(rescue);
        }
        // The old one stays where it is until there is another: what was rescued of it would else be lost where there is no room.
        QuotaStore::make(directory, &kept)?;
        let aside = aside(directory, time)?;
        let store = QuotaStore::put_in_place(directory, kept.len() as u64)?;
        let rescued = kept.len() as u64;
        kept.into_iter().for_each(&mut take);
        Ok(StoreOpened { store, set_aside: Some(SetAside { cause, path: aside, rescued }) })
    }

    /// Makes a new store with this in it, which has no name yet by which it is found.
    fn make(directory: &StateDir, kept: &[KeptUse]) -> Result<(), QuotaStoreError> {
        let unfinished = directory.file(UNFINISHED);
        for old in [&unfinished, &directory.file(&format!("{UNFINISHED}-wal"))] {
            match fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?);
        let mut store =
            QuotaStore { db: connect(&unfinished)?, path: unfinished.clone(), file: (0, 0), rows: 0 };
        store.db.execute_batch("PRAGMA journal_mode = OFF")?;
        store.db.execute_batch(TABLE)?;
        store.write(kept)?;
        store.db.pragma_update(None, "application_id", APPLICATION)?;
        store.db.pragma_update(None, "user_version", FORMAT)?;
        // From here on nothing is written to open it: it can be read where the disk is full.
        store.db.execute_batch("PRAGMA journal_mode = WAL")?;
        store.db.close().map_err(|(_, error)| error)?;
        Ok(File::open(&unfinished)?.sync_all()?)
    }

    /// Gives the store that was made its name, and opens it.
    fn put_in_place(directory: &StateDir, rows: u64) -> Result<QuotaStore, QuotaStoreError> {
        let path = directory.file(FILE);
        fs::rename(directory.file(UNFINISHED), &path)?;
        File::open(directory.file("."))?.sync_all()?;
        let store = QuotaStore::existing(&path)?;
        Ok(QuotaStore { rows, ..store })
    }

    fn existing(path: &Path) -> Result<QuotaStore, QuotaStoreError> {
        let db = connect(path)?;
        let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        if number("application_id")? != APPLICATION {
            return Err(QuotaStoreError::Corrupt("it is a file of another program".to_owned()));
        }
        match number("user_version")? {
            FORMAT => {}
            newer if newer > FORMAT => return Err(QuotaStoreError::Newer(newer)),
            other => {
                return Err(QuotaStoreError::Corrupt(format!(
                    "its format is {other}, which there never was"
                )));
            }
        }
        let journal = format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = {}",
            limits::QUOTA_JOURNAL_BYTES
        );
        db.execute_batch(&journal)?;
        Ok(QuotaStore { db, path: path.to_owned(), file: file_at(path)?, rows: 0 })
    }

    /// Whether its file still stands where it was opened. One that was removed takes what is written, and nobody finds it.
    pub fn is_in_place(&self) -> bool {
        file_at(&self.path).is_ok_and(|file| file == self.file)
    }

    /// Rows that it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether this version could read the store that a directory has, if there is one; by its head alone, so that a server
    /// that has it open is not disturbed.
    ///
    /// # Errors
    /// It is of a newer version.
    pub fn probe(directory: &Path) -> Result<(), QuotaStoreError> {
        let mut head = [0; 72];
        let read = files::open_regular(&directory.join(FILE)).and_then(|mut file| file.read_exact(&mut head));
        let number = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&head[at..at + 4]);
            i32::from_be_bytes(bytes)
        };
        // The places are those of SQLite's format: the user version, and whose file it is.
        match (number(60), number(68)) {
            (format, APPLICATION) if read.is_ok() && format > FORMAT => Err(QuotaStoreError::Newer(format)),
            _ => Ok(()),
        }
    }

    /// Whether the file is whole in itself.
    fn check(&self) -> Result<(), QuotaStoreError> {
        let said: String = self.db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if said == "ok" { Ok(()) } else { Err(QuotaStoreError::Corrupt(said.replace('\n', " "))) }
    }

    /// Hands over all rows that are right, up to the first that cannot be read.
    fn read(&self, take: impl FnMut(KeptUse)) -> Result<(), QuotaStoreError> {
        hand_over(self.db.prepare(ALL)?.query([])?, take)
    }

    /// Hands over what was used of one quota.
    ///
    /// # Errors
    /// It cannot be read, or some of it is not as it was written.
    pub fn read_of(&self, quota: &str, take: impl FnMut(KeptUse)) -> Result<(), QuotaStoreError> {
        hand_over(self.db.prepare(OF_ONE)?.query(params![quota])?, take)
    }

    /// Writes what was used, all of it or, with an error, nothing. Who used nothing is in it no more.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub fn write(&mut self, used: &[KeptUse]) -> Result<(), QuotaStoreError> {
        let batch = self.db.transaction()?;
        let mut rows = self.rows;
        {
            let (mut change, mut add) = (batch.prepare(CHANGE)?, batch.prepare(ADD)?);
            let mut remove = batch.prepare(REMOVE)?;
            for one in used {
                let KeptUse { quota, holder, period, up, down } = one;
                if *up == 0 && *down == 0 {
                    rows -= (remove.execute(params![quota, holder])? as u64).min(rows);
                    continue;
                }
                // What does not fit into SQLite's numbers is 9 EB, and nobody's quota.
                let (up, down) = (number(*up), number(*down));
                let row = params![quota, holder, period, up, down, sum(quota, holder, [*period, up, down])];
                if change.execute(row)? == 0 {
                    rows += add.execute(row)? as u64;
                }
            }
        }
        batch.commit()?;
        self.rows = rows;
        Ok(())
    }

    /// Removes all rows of a quota.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub fn remove_all(&mut self, quota: &str) -> Result<(), QuotaStoreError> {
        self.rows -= (self.db.execute(REMOVE_ALL, params![quota])? as u64).min(self.rows);
        Ok(())
    }

    /// Removes of the next rows of a quota, behind this holder, those of a period that began before this one. Gives the
    /// holder to go on behind, until there are no more.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub fn sweep(
        &mut self,
        quota: &str,
        behind: &str,
        before: i64,
    ) -> Result<Option<String>, QuotaStoreError> {
        let mut step = self.db.prepare(STEP)?;
        let mut found = step.query(params![quota, behind, limits::QUOTA_SWEEP_ROWS - 1])?;
        let last: Option<String> = found.next()?.map(|row| row.get(0)).transpose()?;
        drop(found);
        drop(step);
        let removed = match &last {
            Some(last) => self.db.execute(SWEEP, params![quota, behind, last, before])?,
            None => self.db.execute(SWEEP_LAST, params![quota, behind, before])?,
        };
        self.rows -= (removed as u64).min(self.rows);
        Ok(last)
    }

    /// Writes the journal into the store, and closes it: it is one file then.
    ///
    /// # Errors
    /// The journal stays, and is read by the next start.
    pub fn close(self) -> Result<(), QuotaStoreError> {
        self.db.close().map_err(|(_, error)| error.into())
    }
}

/// Opens a file that is there, for this process alone.
fn connect(path: &Path) -> Result<Connection, QuotaStoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(limits::QUOTA_STORE_PATIENCE)?;
    db.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0",
    )?;
    db.pragma_update(None, "cache_size", -limits::QUOTA_CACHE_KIB)?;
    Ok(db)
}

/// Hands over the rows that are right, and says where some were not.
fn hand_over(mut rows: Rows<'_>, mut take: impl FnMut(KeptUse)) -> Result<(), QuotaStoreError> {
    let (mut wrong, mut names) = (0_u64, Vec::<Arc<str>>::new());
    while let Some(row) = rows.next()? {
        match kept_use(row, &mut names) {
            Some(one) => take(one),
            None => wrong += 1,
        }
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(QuotaStoreError::Corrupt(format!("rows that are not as they were written: {wrong}"))),
    }
}

/// A row, where it is as it was written.
fn kept_use(row: &Row<'_>, names: &mut Vec<Arc<str>>) -> Option<KeptUse> {
    let text =
        |at| row.get_ref(at).ok()?.as_str().ok().filter(|text| text.len() <= limits::QUOTA_NAME_BYTES_MAX);
    let (quota, holder) = (text(0)?, text(1)?);
    let [period, up, down, written] = [2, 3, 4, 5].map(|at| row.get::<_, i64>(at).ok());
    let (period, up, down) = (period?, up?, down?);
    if written? != sum(quota, holder, [period, up, down]) {
        return None;
    }
    // Rows stand in the order of their quotas, of which there are few.
    if names.last().is_none_or(|last| **last != *quota) {
        names.push(quota.into());
    }
    let quota = Arc::clone(names.last()?);
    Some(KeptUse {
        quota,
        holder: holder.to_owned(),
        period,
        up: up.try_into().ok()?,
        down: down.try_into().ok()?,
    })
}

/// What a row is told by from one that is not as it was written.
fn sum(quota: &str, holder: &str, numbers: [i64; 3]) -> i64 {
    let mut hash = Blake2s256::new();
    for text in [quota, holder] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    numbers.iter().for_each(|number| hash.update(number.to_le_bytes()));
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    i64::from_le_bytes(first)
}

/// Which file stands there.
fn file_at(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Gives the store and its journal, whichever are there, names under which nobody looks for them and nothing stands yet.
fn aside(directory: &StateDir, time: &str) -> Result<PathBuf, QuotaStoreError> {
    let named = |nth: u32, ending: &str| match nth {
        0 => directory.file(&format!("{FILE}.corrupt-{time}{ending}")),
        nth => directory.file(&format!("{FILE}.corrupt-{time}-{nth}{ending}")),
    };
    let mut nth = 0;
    while named(nth, "").try_exists()? || named(nth, "-wal").try_exists()? {
        nth += 1;
    }
    for ending in ["-wal", ""] {
        match fs::rename(directory.file(&format!("{FILE}{ending}")), named(nth, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(named(nth, ""))
}

#[cfg(test)]
mod tests;
