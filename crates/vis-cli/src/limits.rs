//! How much memory the system still gives this process.

use std::path::{Path, PathBuf};

/// The bytes that can still be taken: the least of what the machine, the limits of the process (`ulimit -v` and
/// `ulimit -d`) and its control groups leave, as far as the system reports them.
pub(crate) fn free() -> Option<f64> {
    free_under(Path::new("/"))
}

/// The same of a system whose files are below `root`.
fn free_under(root: &Path) -> Option<f64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let machine = kilobytes(&read("proc/meminfo"), "MemAvailable:");
    let (limits, status) = (read("proc/self/limits"), read("proc/self/status"));
    let left_of = |limit: &str, used: &str| {
        Some((soft_limit(&limits, limit)? - kilobytes(&status, used).unwrap_or(0.0)).max(0.0))
    };
    let process = [left_of("Max address space", "VmSize:"), left_of("Max data size", "VmData:")];
    let groups = groups(root, &read("proc/self/cgroup")).into_iter().map(|group| group.free());
    [machine].into_iter().chain(process).chain(groups).flatten().reduce(f64::min)
}

/// A row of a table of `/proc` in bytes, where the table has kilobytes.
fn kilobytes(table: &str, row: &str) -> Option<f64> {
    let row = table.lines().find_map(|line| line.strip_prefix(row))?;
    let kilobytes: f64 = row.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

/// The soft limit of a resource in bytes; none if it is unlimited.
fn soft_limit(limits: &str, resource: &str) -> Option<f64> {
    let row = limits.lines().find_map(|line| line.strip_prefix(resource))?;
    row.split_whitespace().next()?.parse().ok()
}

/// A control group that can limit memory, by the folder and the files of its version.
struct Group {
    folder: PathBuf,
    limit: &'static str,
    used: &'static str,
}

impl Group {
    fn free(&self) -> Option<f64> {
        let read = |file: &str| std::fs::read_to_string(self.folder.join(file)).ok();
        // `max` in the second version and a number beyond any machine in the first are no limit.
        let limit: f64 = read(self.limit)?.trim().parse().ok().filter(|limit| *limit < 2_f64.powi(60))?;
        let used: f64 = read(self.used)?.trim().parse().ok()?;
        // Files that are kept in memory give way.
        let statistics = read("memory.stat").unwrap_or_default();
        let of_files = |row: &str| {
            let value = statistics.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
            value.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0)
        };
        let files = of_files("inactive_file") + of_files("active_file");
        Some((limit - (used - files).max(0.0)).max(0.0))
    }
}

/// The control groups of the process and those around them.
fn groups(root: &Path, memberships: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for membership in memberships.lines() {
        let mut fields = membership.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (top, limit, used) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max", "memory.current"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => continue,
        };
        let top = root.join(top);
        let own = top.join(path.trim_start_matches('/'));
        // Each group keeps to the limits of those that it is in.
        let around = own.ancestors().take_while(|folder| folder.starts_with(&top));
        groups.extend(around.map(|folder| Group { folder: folder.to_owned(), limit, used }));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system with these files.
    fn free_with(files: &[(&str, &str)]) -> Option<f64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        free_under(root.path())
    }

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:       9000 kB\nMemFree: 10 kB\nMemAvailable:    7000 kB\n");

    #[test]
    fn without_limits_it_is_what_the_machine_has() {
        assert_eq!(free_with(&[]), None);
        assert_eq!(free_with(&[MEMINFO]), Some(7000.0 * 1024.0));
        let unlimited = "Max data size             unlimited            unlimited            bytes\n\
                         Max address space         unlimited            unlimited            bytes\n";
        let free = free_with(&[
            MEMINFO,
            ("proc/self/limits", unlimited),
            ("proc/self/status", "VmSize: 9000 kB\nVmData: 100 kB\n"),
            ("proc/self/cgroup", "0::/box\n"),
            ("sys/fs/cgroup/box/memory.max", "max\n"),
            ("sys/fs/cgroup/box/memory.current", "123\n"),
        ]);
        assert_eq!(free, Some(7000.0 * 1024.0));
    }

    #[test]
    fn limits_of_the_process_count_less_what_it_has() {
        let limits = |data: &str, space: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units\n\
                 Max data size             {data}              unlimited            bytes\n\
                 Max address space         {space}            9999999999           bytes\n"
            )
        };
        let free = |data: &str, space: &str| {
            let status = ("proc/self/status", "VmPeak: 900 kB\nVmSize: 600 kB\nVmData: 100 kB\n");
            free_with(&[MEMINFO, ("proc/self/limits", &limits(data, space)), status])
        };
        assert_eq!(free("unlimited", "1024000"), Some(400.0 * 1024.0));
        assert_eq!(free("512000", "1024000"), Some(400.0 * 1024.0));
        assert_eq!(free("307200", "1024000"), Some(200.0 * 1024.0));
        assert_eq!(free("unlimited", "1024"), Some(0.0)); // it has more already
        assert_eq!(free("unlimited", "99999999999"), Some(7000.0 * 1024.0));
    }

    #[test]
    fn control_groups_and_those_around_them_count_less_what_they_hold_but_for_files() {
        let second = |outer: &str, inner: &str| {
            free_with(&[
                MEMINFO,
                ("proc/self/cgroup", "0::/outer/inner\n"),
                ("sys/fs/cgroup/outer/memory.max", outer),
                ("sys/fs/cgroup/outer/memory.current", "5000\n"),
                ("sys/fs/cgroup/outer/inner/memory.max", inner),
                ("sys/fs/cgroup/outer/inner/memory.current", "4000\n"),
                (
                    "sys/fs/cgroup/outer/inner/memory.stat",
                    "anon 9\nfile 9\ninactive_file 500\nactive_file 300\n",
                ),
            ])
        };
        assert_eq!(second("max\n", "10000\n"), Some(6800.0));
        assert_eq!(second("8000\n", "10000\n"), Some(3000.0));
        let first = free_with(&[
            MEMINFO,
            ("proc/self/cgroup", "4:cpu,cpuacct:/a\n3:memory:/a\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "20000\n"),
            ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "15000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "15000\n"),
        ]);
        assert_eq!(first, Some(5000.0));
    }
}
