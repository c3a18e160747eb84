//! Debian's kernel package: fetched once, unpacked, never installed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};

use super::{Scratch, show, text, tool};

/// An unpacked kernel: `boot/vmlinuz-VERSION` and `lib/modules/VERSION`.
pub(super) struct Kernel {
    folder: PathBuf,
    version: String,
}

impl Kernel {
    /// Finds the kernel of an earlier call or fetches it.
    pub(super) fn prepared(home: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(home).with_context(|| format!("creating {}", home.display()))?;
        for entry in fs::read_dir(home).with_context(|| format!("reading {}", home.display()))? {
            let folder = entry?.path();
            let name = folder.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if let Some(version) = name.strip_prefix("kernel-") {
                return Ok(Self { version: version.to_owned(), folder });
            }
        }
        Self::fetch(home)
    }

    /// Downloads Debian's package and unpacks, not installs, what the machine needs of it.
    fn fetch(home: &Path) -> anyhow::Result<Self> {
        const UNKNOWN: &str = "finding Debian's package linux-image-amd64; `apt-get update` may be needed";
        let depends = text(tool("apt-cache").args(["depends", "linux-image-amd64"])).context(UNKNOWN)?;
        let package = depends
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|package| package.starts_with("linux-image-"))
            .context(UNKNOWN)?;
        let version = package.trim_start_matches("linux-image-").to_owned();

        // Everything happens under a name of this process, so that a second one cannot meet a
        // half-made folder; the last step gives it its name.
        let work = Scratch::new(home)?;
        show(tool("apt-get").current_dir(&work.path).args(["download", package]))?;
        let archive = fs::read_dir(&work.path)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension() == Some(OsStr::new("deb")))
            .context("apt-get download left no package behind")?;
        let unpacked = work.path.join("kernel");
        fs::create_dir(&unpacked).context("creating a folder for the kernel")?;
        unpack(&archive, &unpacked)?;
        show(tool("depmod").arg("-b").arg(&unpacked).arg(&version))?;

        let folder = home.join(format!("kernel-{version}"));
        if let Err(error) = fs::rename(&unpacked, &folder)
            && !folder.is_dir()
        {
            return Err(error).with_context(|| format!("naming {}", folder.display()));
        }
        Ok(Self { folder, version })
    }

    /// What the machine boots.
    pub(super) fn image(&self) -> PathBuf {
        self.folder.join(format!("boot/vmlinuz-{}", self.version))
    }

    /// The modules of this version, with depmod's index.
    pub(super) fn modules(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.version)
    }
}

fn unpack(archive: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut packed = tool("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting dpkg-deb")?;
    let stream = packed.stdout.take().context("dpkg-deb has no output")?;
    // Device drivers are nine tenths of the package and the machine has no devices.
    let unpacked = tool("tar")
        .args(["-x", "--wildcards", "--anchored", "-C"])
        .arg(folder)
        .args(["./boot/vmlinuz-*", "./lib/modules/*/modules.*"])
        .args(["arch", "crypto", "fs", "lib", "net", "drivers/virtio", "drivers/char"].map(module_pattern))
        .arg("--no-wildcards-match-slash")
        .arg(module_pattern("drivers/net/*.ko"))
        .stdin(stream)
        .status()
        .context("starting tar")?;
    let packed = packed.wait().context("waiting for dpkg-deb")?;
    ensure!(packed.success() && unpacked.success(), "unpacking {} failed", archive.display());
    Ok(())
}

fn module_pattern(path: &str) -> String {
    format!("./lib/modules/*/kernel/{path}")
}
