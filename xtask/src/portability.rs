//! What Linux binaries need of the system that they run on: versions of glibc, libraries, and an executable stack.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, Sym};

/// A version of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GlibcVersion {
    major: u32,
    minor: u32,
}

impl FromStr for GlibcVersion {
    type Err = anyhow::Error;

    /// Reads a version such as `2.28`, or `2.2.5`, whose third number is left out.
    fn from_str(text: &str) -> Result<Self> {
        let mut numbers = text.split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => bail!("glibc: version {text:?}; expected two numbers, such as 2.28"),
        }
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Libraries that every desktop has: glibc's, GCC's and ALSA's. The dynamic linker's name begins with `ld-`.
///
/// Libraries of the window and of JACK are opened when they are used, so that a missing one is no obstacle.
const DESKTOP_LIBRARIES: [&str; 8] = [
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libasound.so.2",
];

/// Checks that the binary at `path` runs on desktops with glibc `newest` and any newer one; without it, on desktops with
/// this system's glibc.
///
/// # Errors
/// If the file is no such binary. The error lists everything that it needs and should not.
pub fn check(path: &Path, newest: Option<GlibcVersion>) -> Result<()> {
    let binary = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let problems = problems(&binary, newest).with_context(|| path.display().to_string())?;
    ensure!(problems.is_empty(), "{}: {}", path.display(), problems.join("; "));
    Ok(())
}

fn problems(binary: &[u8], newest: Option<GlibcVersion>) -> Result<Vec<String>> {
    let needs = Needs::read(binary).context("not a Linux binary of 64 bits; expected ELF")?;
    let mut problems = Vec::new();
    for (version, symbol) in needs.versions {
        let Some(version) = version.strip_prefix("GLIBC_") else { continue };
        // Versions without a number, such as GLIBC_ABI_DT_RELR, are newer than all that may be asked for.
        let is_old = |newest| version.parse::<GlibcVersion>().is_ok_and(|version| version <= newest);
        if let Some(newest) = newest.filter(|&newest| !is_old(newest)) {
            problems.push(format!("needs {symbol} of glibc {version}; expected {newest} or older"));
        }
    }
    for library in needs.libraries {
        if !DESKTOP_LIBRARIES.contains(&library.as_str()) && !library.starts_with("ld-") {
            problems.push(format!(
                "needs {library}, which a desktop may lack; expected only {}",
                DESKTOP_LIBRARIES.join(", ")
            ));
        }
    }
    if needs.executable_stack {
        problems.push("needs an executable stack, which systems refuse; expected none".to_owned());
    }
    Ok(problems)
}

/// What a binary asks the dynamic linker for.
struct Needs {
    /// A symbol by the version that it must have.
    versions: BTreeMap<String, String>,
    libraries: Vec<String>,
    executable_stack: bool,
}

impl Needs {
    fn read(binary: &[u8]) -> object::read::Result<Self> {
        let header = elf::FileHeader64::<object::Endianness>::parse(binary)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, binary)?;

        let mut versions = BTreeMap::new();
        if let Some((mut needs, strings)) = sections.gnu_verneed(endian, binary)? {
            let strings = sections.strings(endian, binary, strings)?;
            while let Some((_, mut of_library)) = needs.next()? {
                while let Some(version) = of_library.next()? {
                    versions.insert(text(version.name(endian, strings)?), "a feature".to_owned());
                }
            }
        }
        let table = sections.versions(endian, binary)?.unwrap_or_default();
        let symbols = sections.symbols(endian, binary, elf::SHT_DYNSYM)?;
        for (index, symbol) in symbols.enumerate().filter(|(_, symbol)| symbol.is_undefined(endian)) {
            if let Some(version) = table.version(table.version_index(endian, index).index())? {
                versions.insert(text(version.name()), text(symbols.symbol_name(endian, symbol)?));
            }
        }

        let dynamic = sections.dynamic_table(endian, binary)?;
        let libraries = dynamic
            .iter()
            .filter(|entry| entry.tag == elf::DT_NEEDED)
            .map(|entry| dynamic.string(entry).map(text))
            .collect::<object::read::Result<_>>()?;
        // Without this header, the stack is executable.
        let executable_stack = header
            .program_headers(endian, binary)?
            .iter()
            .find(|segment| segment.p_type(endian) == elf::PT_GNU_STACK)
            .is_none_or(|stack| stack.p_flags(endian).contains(elf::PF_X));
        Ok(Self { versions, libraries, executable_stack })
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn own_binary() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    /// The problems of `binary` on desktops with glibc `newest`, one after the other.
    fn told(binary: &[u8], newest: &str) -> String {
        problems(binary, Some(newest.parse().unwrap())).unwrap().join("\n")
    }

    /// `binary` with `to` in place of each `from`, of the same length.
    fn replaced(binary: &[u8], from: &str, to: &str) -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let mut binary = binary.to_owned();
        for start in 0..binary.len() - from.len() {
            if binary[start..].starts_with(from.as_bytes()) {
                binary[start..][..from.len()].copy_from_slice(to.as_bytes());
            }
        }
        binary
    }

    #[test]
    fn binary_of_this_system_needs_a_newer_glibc_than_2_1() {
        let own = own_binary();
        let problems = told(&own, "2.1");
        assert!(
            problems.contains(" of glibc 2.") && problems.contains("expected 2.1 or older"),
            "{problems}"
        );
        assert_eq!(told(&own, "2.99"), "");
        assert_eq!(problems_without_version(&own), "");
    }

    fn problems_without_version(binary: &[u8]) -> String {
        problems(binary, None).unwrap().join("\n")
    }

    #[test]
    fn version_of_glibc_without_a_number_is_too_new() {
        let own = replaced(&own_binary(), "GLIBC_2.34\0", "GLIBC_RELR\0");
        assert!(told(&own, "2.99").contains("of glibc RELR"));
    }

    #[test]
    fn library_that_a_desktop_may_lack_is_named() {
        let other = replaced(&own_binary(), "libc.so.6\0", "libd.so.7\0");
        let problems = problems_without_version(&other);
        assert!(problems.contains("needs libd.so.7, which a desktop may lack"), "{problems}");
    }

    #[test]
    fn executable_stack_is_found() {
        let mut binary = own_binary();
        let header = elf::FileHeader64::<object::Endianness>::parse(&*binary).unwrap();
        let endian = header.endian().unwrap();
        let first = header.e_phoff(endian) as usize;
        let size = usize::from(header.e_phentsize(endian));
        let segments = header.program_headers(endian, &*binary).unwrap();
        let stack = segments.iter().position(|segment| segment.p_type(endian) == elf::PT_GNU_STACK).unwrap();
        // The flags are the second number of a header; their lowest bit means executable.
        binary[first + stack * size + 4] |= 1;
        assert!(problems_without_version(&binary).contains("executable stack"));
    }

    #[test]
    fn file_that_is_not_elf_is_named_in_the_error() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("script.so");
        std::fs::write(&path, "INPUT(libc.so)").unwrap();
        let error = format!("{:#}", check(&path, None).unwrap_err());
        assert!(error.contains("script.so: not a Linux binary"), "{error}");
    }

    #[test]
    fn versions_of_glibc_compare_by_number() {
        let version = |text: &str| text.parse::<GlibcVersion>().unwrap();
        assert!(version("2.4") < version("2.28"));
        assert_eq!(version("2.2.5"), version("2.2"));
        assert!("2".parse::<GlibcVersion>().is_err());
    }
}
