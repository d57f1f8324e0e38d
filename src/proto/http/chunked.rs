//! A body in chunks (RFC 9112 section 7.1), told apart byte by byte without a copy.

use std::fmt;

use crate::limits::{HTTP_CHUNK_DIGITS_MAX, HTTP_CHUNK_LINE_BYTES_MAX, HTTP_TRAILER_BYTES_MAX};

/// What stands at the front of some bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkPiece {
    /// So many bytes of lines around the data: they go on with it where chunks do, and are dropped where they do not.
    Line(usize),
    /// So many bytes of data.
    Data(usize),
    /// So many bytes that are left out: extensions, in which parsers differ and which are for one connection alone (RFC 9112
    /// section 7.1.1), and trailer fields, which could be taken for fields of the head (RFC 9110 section 6.5.1).
    Dropped(usize),
    /// So many bytes, and the body ends with them; they go on as [`ChunkPiece::Line`] does.
    End(usize),
    /// More bytes have to come.
    More,
}

/// Why a body in chunks is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// A size that is no hexadecimal number, or too large.
    Size,
    /// Its line is too long.
    LineTooLong,
    /// CR without LF, LF without CR, or data that does not end where its size says.
    LineEnd,
    /// A byte that stands in no extension.
    Extension(u8),
    /// A trailer field that is none.
    Trailer,
    /// Too many bytes of trailer fields.
    TrailerTooLong,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "a chunk's size is no number",
            Self::LineTooLong => "a chunk's first line is too long",
            Self::LineEnd => "a chunk does not end with CR and LF",
            Self::Extension(byte) => return write!(f, "a byte {byte:#04x} behind a chunk's size"),
            Self::Trailer => "a trailer field is none",
            Self::TrailerTooLong => "the trailer fields are too long",
        })
    }
}

impl std::error::Error for ChunkError {}

/// Reads a body in chunks. It keeps no byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkReader {
    state: ChunkState,
    /// Bytes of the present line, or of all trailer fields.
    taken: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// The begin of a line behind the last chunk.
    Line,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Over,
}

/// What a byte of a line begins or goes on with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    Line,
    Dropped,
    End,
}

impl Default for ChunkReader {
    fn default() -> Self {
        ChunkReader::new()
    }
}

impl ChunkReader {
    /// At the begin of a body.
    pub fn new() -> ChunkReader {
        ChunkReader { state: ChunkState::Size(0), taken: 0 }
    }

    /// Bytes of data that come before anything has to be read: they can be moved unseen, and told by
    /// [`ChunkReader::skip`].
    pub fn data_left(&self) -> u64 {
        match self.state {
            ChunkState::Data(left) => left,
            _ => 0,
        }
    }

    /// Takes note of so many bytes of data that were moved: at most [`ChunkReader::data_left`].
    pub fn skip(&mut self, count: u64) {
        if let ChunkState::Data(left) = self.state {
            let left = left.saturating_sub(count);
            self.state = if left == 0 { ChunkState::DataCr } else { ChunkState::Data(left) };
        }
    }

    /// Whether the body is over.
    pub fn is_over(&self) -> bool {
        self.state == ChunkState::Over
    }

    /// Takes what stands at the front of `bytes`, which come behind all that was taken before.
    ///
    /// # Errors
    /// [`ChunkError`] with the very byte; what stands before it in `bytes` is lost with it.
    pub fn next(&mut self, bytes: &[u8]) -> Result<ChunkPiece, ChunkError> {
        if bytes.is_empty() || self.is_over() {
            return Ok(ChunkPiece::More);
        }
        if let ChunkState::Data(left) = self.state {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            self.skip(count as u64);
            return Ok(ChunkPiece::Data(count));
        }
        let mut piece = None;
        for (at, byte) in bytes.iter().enumerate() {
            // A line's kind shows with its first byte: the empty line behind the trailer fields is the end.
            let kind = match self.state {
                ChunkState::Line if *byte == b'\r' => PieceKind::End,
                ChunkState::Line
                | ChunkState::TrailerName
                | ChunkState::TrailerValue
                | ChunkState::TrailerLf => PieceKind::Dropped,
                ChunkState::EndLf => PieceKind::End,
                ChunkState::Size(_) if *byte == b';' => PieceKind::Dropped,
                ChunkState::Extension(_) if *byte != b'\r' => PieceKind::Dropped,
                ChunkState::Data(_) => return Ok(ChunkPiece::Line(at)),
                _ => PieceKind::Line,
            };
            if piece.is_some_and(|begun| begun != kind) {
                return Ok(of_kind(piece, at));
            }
            piece = Some(kind);
            self.step(*byte)?;
            if self.is_over() {
                return Ok(ChunkPiece::End(at + 1));
            }
        }
        Ok(of_kind(piece, bytes.len()))
    }

    fn step(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.taken = self.taken.saturating_add(1);
        self.state = match self.state {
            ChunkState::Size(size) => self.size(size, byte)?,
            ChunkState::Extension(size) => match byte {
                b'\r' => ChunkState::SizeLf(size),
                b'\t' | b' '..=b'~' | 0x80.. if usize::from(self.taken) < HTTP_CHUNK_LINE_BYTES_MAX => {
                    ChunkState::Extension(size)
                }
                b'\t' | b' '..=b'~' | 0x80.. => return Err(ChunkError::LineTooLong),
                b'\n' => return Err(ChunkError::LineEnd),
                other => return Err(ChunkError::Extension(other)),
            },
            ChunkState::SizeLf(0) => self.line_ends(byte, ChunkState::Line)?,
            ChunkState::SizeLf(size) => self.line_ends(byte, ChunkState::Data(size))?,
            ChunkState::DataCr if byte == b'\r' => ChunkState::DataLf,
            ChunkState::DataCr => return Err(ChunkError::LineEnd),
            ChunkState::DataLf => self.line_ends(byte, ChunkState::Size(0))?,
            ChunkState::EndLf => self.line_ends(byte, ChunkState::Over)?,
            ChunkState::Line if byte == b'\r' => ChunkState::EndLf,
            _ => self.trailer(byte)?,
        };
        Ok(())
    }

    /// 1*HEXDIG, with nothing before or behind it but an extension.
    fn size(&self, size: u64, byte: u8) -> Result<ChunkState, ChunkError> {
        let digit = char::from(byte).to_digit(16);
        match (digit, byte) {
            // A size that others would read as negative is none.
            (Some(digit), _) if usize::from(self.taken) <= HTTP_CHUNK_DIGITS_MAX && size <= u64::MAX >> 5 => {
                Ok(ChunkState::Size(size << 4 | u64::from(digit)))
            }
            (None, b'\r') if self.taken > 1 => Ok(ChunkState::SizeLf(size)),
            (None, b';') if self.taken > 1 => Ok(ChunkState::Extension(size)),
            (None, b'\n') => Err(ChunkError::LineEnd),
            _ => Err(ChunkError::Size),
        }
    }

    fn line_ends(&mut self, byte: u8, next: ChunkState) -> Result<ChunkState, ChunkError> {
        self.taken = 0;
        if byte == b'\n' { Ok(next) } else { Err(ChunkError::LineEnd) }
    }

    fn trailer(&self, byte: u8) -> Result<ChunkState, ChunkError> {
        if usize::from(self.taken) > HTTP_TRAILER_BYTES_MAX {
            return Err(ChunkError::TrailerTooLong);
        }
        match (self.state, byte) {
            (ChunkState::TrailerName, b':') => Ok(ChunkState::TrailerValue),
            (ChunkState::Line | ChunkState::TrailerName, byte) if is_token(byte) => {
                Ok(ChunkState::TrailerName)
            }
            (ChunkState::TrailerValue, b'\r') => Ok(ChunkState::TrailerLf),
            (ChunkState::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => Ok(ChunkState::TrailerValue),
            (ChunkState::TrailerLf, b'\n') => Ok(ChunkState::Line),
            (ChunkState::TrailerLf, _) | (ChunkState::TrailerValue, b'\n') => Err(ChunkError::LineEnd),
            _ => Err(ChunkError::Trailer),
        }
    }
}

fn of_kind(kind: Option<PieceKind>, count: usize) -> ChunkPiece {
    match kind {
        Some(PieceKind::Line) => ChunkPiece::Line(count),
        Some(PieceKind::Dropped) => ChunkPiece::Dropped(count),
        Some(PieceKind::End) => ChunkPiece::Line(count),
        None => ChunkPiece::More,
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
