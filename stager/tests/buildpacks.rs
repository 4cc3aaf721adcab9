//! The scripts of the built-in buildpacks, really run on folders of apps.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cupola_testkit::{Listening, example, program};

const ORDER: [&str; 5] = ["staticfile", "python", "nodejs", "procfile", "binary"];
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An app's folder and what the buildpacks do to it.
struct App {
    dir: tempfile::TempDir,
    path: String,
    start_command: String,
}

/// What a buildpack made of an app.
struct Built {
    output: String,
    web: Option<String>,
}

impl App {
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["app", "cache", "tools"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let server = program("cupola-staticfile");
        symlink(server, dir.path().join("tools/cupola-staticfile")).unwrap();
        Self {
            dir,
            path: PATH.to_owned(),
            start_command: String::new(),
        }
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let app = Self::empty();
        for (name, content) in files {
            let path = app.folder().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        app
    }

    fn example(name: &str) -> Self {
        let app = Self::empty();
        let copied = Command::new("cp")
            .arg("-rT")
            .arg(example(name))
            .arg(app.folder())
            .status();
        assert!(copied.unwrap().success());
        app
    }

    /// Without these programs on the machine.
    fn lacking(mut self, programs: &[&str]) -> Self {
        let bin = self.dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for tool in [
            "sh", "cat", "cp", "chmod", "dirname", "find", "grep", "head", "mkdir", "mv", "rmdir",
            "sed", "tail", "tr", "wc", "python3", "node", "npm", "dd", "od", "env",
        ] {
            let found = PATH
                .split(':')
                .map(|dir| Path::new(dir).join(tool))
                .find(|path| path.exists());
            if let Some(found) = found.filter(|_| !programs.contains(&tool)) {
                symlink(found, bin.join(tool)).unwrap();
            }
        }
        self.path = bin.to_str().unwrap().to_owned();
        self
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    fn run(&self, key: &str, script: &str) -> Output {
        let buildpacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpacks");
        let mut command = Command::new(buildpacks.join(key).join("bin").join(script));
        command
            .arg(self.folder())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.dir.path())
            .env("CUPOLA_BUILDPACK_TOOLS", self.dir.path().join("tools"))
            .env("CUPOLA_START_COMMAND", &self.start_command)
            .current_dir("/");
        if script == "compile" {
            command.arg(self.dir.path().join("cache"));
        }
        command.output().unwrap()
    }

    fn detected(&self) -> Option<&'static str> {
        ORDER
            .into_iter()
            .find(|key| self.run(key, "detect").status.success())
    }

    fn build(&self, key: &str) -> Result<Built, String> {
        let compiled = self.run(key, "compile");
        let output = String::from_utf8(compiled.stdout).unwrap();
        if !compiled.status.success() {
            return Err(output);
        }
        assert_eq!(
            String::from_utf8(compiled.stderr).unwrap(),
            "",
            "on standard error"
        );
        let released = self.run(key, "release");
        assert!(released.status.success(), "{released:?}");
        let yaml = String::from_utf8(released.stdout).unwrap();
        let types: BTreeMap<String, BTreeMap<String, String>> =
            serde_saphyr::from_str(&yaml).unwrap();
        let web = types["default_process_types"].get("web").cloned();
        Ok(Built { output, web })
    }
}

/// A started app; killed in the end.
struct Running(Listening);

impl Running {
    fn start(app: &App, command: &str) -> Self {
        let mut shell = Command::new("sh");
        let shell = shell
            .args(["-c", &format!("exec {command}")])
            .env_clear()
            .env("PATH", PATH)
            .env("PORT", "0")
            .current_dir(app.folder());
        Self(Listening::start(shell))
    }

    fn get(&self, path: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(self.0.address()).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn every_sample_is_detected_by_the_buildpack_that_a_person_expects() {
    for (name, key) in [
        ("static-site", Some("staticfile")),
        ("python-web", Some("python")),
        ("node-web", Some("nodejs")),
        ("crash-at-start", Some("procfile")),
        ("memory-eater", Some("python")),
        ("term-ignorer", Some("python")),
        ("undetectable", None),
    ] {
        assert_eq!(App::example(name).detected(), key, "{name}");
    }
}

#[test]
fn programs_with_pages_are_programs_and_pages_alone_are_a_site() {
    for (files, key) in [
        (&["index.html"][..], Some("staticfile")),
        (&["index.html", "package.json"], Some("nodejs")),
        (&["index.html", "requirements.txt"], Some("python")),
        (
            &["index.html", "package.json", "Staticfile"],
            Some("staticfile"),
        ),
        (&["index.html", "app.py"], Some("python")),
        (&["package.json", "server.py"], Some("nodejs")),
        (&["notes.txt", "main.c"], None),
        (&[], None),
    ] {
        let files: Vec<_> = files.iter().map(|name| (*name, "{}")).collect();
        assert_eq!(App::with(&files).detected(), key, "{files:?}");
    }
    assert_eq!(App::with(&[("Procfile", "worker: ./x\n")]).detected(), None);
    assert_eq!(
        App::with(&[("Procfile", "web: ./x\n")]).detected(),
        Some("procfile")
    );
    assert_eq!(
        App::with(&[("Procfile", "web: python3 x.py\n")]).detected(),
        Some("python")
    );
}

#[test]
fn an_executable_with_a_command_is_an_app() {
    let mut app = App::with(&[("run.sh", "#!/bin/sh\n"), ("README", "x")]);
    assert_eq!(app.detected(), None);
    app.start_command = "./run.sh".to_owned();
    assert_eq!(app.detected(), Some("binary"));
    assert_eq!(app.build("binary").unwrap().web, None);
    let mut app = App::with(&[("README", "x")]);
    app.start_command = "./README".to_owned();
    assert_eq!(app.detected(), None);
    fs::copy("/proc/self/exe", app.folder().join("program")).unwrap();
    assert_eq!(app.detected(), Some("binary"));
}

#[test]
fn a_site_is_served_and_nothing_but_the_site() {
    let app = App::example("static-site");
    fs::write(app.folder().join(".env"), "SECRET=1").unwrap();
    let built = app.build("staticfile").unwrap();
    assert!(
        built
            .output
            .contains("-----> Adding the static file server"),
        "{}",
        built.output
    );
    let server = Running::start(&app, &built.web.unwrap());
    assert!(server.get("/", "").contains("Hello from Cupola"));
    assert!(server.get("/about/", "").starts_with("HTTP/1.1 200"));
    assert!(server.get("/assets/style.css", "").contains("text/css"));
    for hidden in [
        "/Staticfile",
        "/manifest.yml",
        "/.cupola/cupola-staticfile",
        "/.env",
        "/../Staticfile",
    ] {
        let answer = server.get(hidden, "");
        assert!(
            answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"),
            "{hidden}: {answer}"
        );
    }
}

#[test]
fn the_options_of_a_staticfile_are_obeyed_or_named() {
    let app = App::with(&[
        ("Staticfile", "root: dist\nssi: enabled\n"),
        ("Staticfile.auth", "cid:{PLAIN}open\n"),
        ("dist/index.html", "built"),
        ("src/secret.ts", "source"),
    ]);
    let built = app.build("staticfile").unwrap();
    for said in [
        "`ssi` means nothing",
        "serving the folder dist",
        "need a password",
    ] {
        assert!(built.output.contains(said), "{said} in {}", built.output);
    }
    let server = Running::start(&app, &built.web.unwrap());
    assert!(server.get("/", "").starts_with("HTTP/1.1 401"));
    let known = "Authorization: Basic Y2lkOm9wZW4=\r\n"; // cid:open
    assert!(server.get("/", known).ends_with("built"));
    assert!(
        server
            .get("/src/secret.ts", known)
            .starts_with("HTTP/1.1 404")
    );

    for (content, said) in [
        ("root: nowhere\n", "no such folder"),
        ("directory: perhaps\n", "line 1"),
        ("root: ../..\n", "must be a folder of the app"),
    ] {
        let app = App::with(&[("Staticfile", content), ("index.html", "x")]);
        let complaint = app
            .build("staticfile")
            .map(|built| built.output)
            .unwrap_err();
        assert!(complaint.contains(said), "{content}: {complaint}");
    }
    let app = App::with(&[
        ("Staticfile", ""),
        ("Staticfile.auth", "a:$2y$x\n"),
        ("index.html", "x"),
    ]);
    assert!(
        app.build("staticfile")
            .map(|built| built.output)
            .unwrap_err()
            .contains("htpasswd")
    );
}

#[test]
fn a_site_keeps_its_own_names_whatever_they_are() {
    let app = App::with(&[
        ("index.html", "x"),
        ("public/a b.txt", "1"),
        ("-rf", "2"),
        ("..x", "3"),
        (".well-known/y", "4"),
    ]);
    let built = app.build("staticfile").unwrap();
    let server = Running::start(&app, &built.web.unwrap());
    for (path, content) in [
        ("/public/a%20b.txt", "1"),
        ("/-rf", "2"),
        ("/.well-known/y", "4"),
    ] {
        assert!(server.get(path, "").ends_with(content), "{path}");
    }
    assert!(app.folder().join(".cupola/site/..x").exists());
}

#[test]
fn python_without_requirements_needs_nothing() {
    let app = App::with(&[
        ("main.py", ""),
        ("requirements.txt", "# none yet\n\n"),
        ("runtime.txt", "python-2.7.1\n"),
    ]);
    let built = app.build("python").unwrap();
    assert!(
        built.output.contains("No requirements to install"),
        "{}",
        built.output
    );
    assert!(
        built.output.contains("asks for python-2.7.1"),
        "{}",
        built.output
    );
    assert_eq!(built.web.as_deref(), Some("python3 main.py"));
    assert_eq!(
        App::example("python-web")
            .build("python")
            .unwrap()
            .web
            .as_deref(),
        Some("python3 server.py")
    );
}

#[test]
fn python_installs_from_a_vendored_folder_without_a_network() {
    let app = App::with(&[
        ("app.py", "import tiny\n"),
        ("requirements.txt", "tiny==1.0\n"),
    ]);
    let vendor = app.folder().join("vendor");
    fs::create_dir(&vendor).unwrap();
    wheel(&vendor.join("tiny-1.0-py3-none-any.whl"));
    if !pip_is_there() {
        println_skipped("pip");
        return;
    }
    let built = app.build("python").unwrap();
    assert!(
        built
            .output
            .contains("Installing requirements from vendor/"),
        "{}",
        built.output
    );
    assert!(
        built.output.contains("installed 1 packages"),
        "{}",
        built.output
    );
    // As the dea would: profile scripts, then the app.
    let run = format!(
        "HOME={}; . ./.profile.d/python.sh; python3 -c 'import tiny; print(tiny.word)'",
        app.folder().display()
    );
    let ran = Command::new("sh")
        .args(["-c", &run])
        .current_dir(app.folder())
        .env("PATH", PATH)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(ran.stdout).unwrap(),
        "vendored\n",
        "{:?}",
        ran.stderr
    );

    fs::write(app.folder().join("requirements.txt"), "absent==1.0\n").unwrap();
    let complaint = app.build("python").map(|built| built.output).unwrap_err();
    assert!(
        complaint.contains("not every requirement lies in vendor/"),
        "{complaint}"
    );
}

#[test]
fn a_machine_without_an_interpreter_is_told_what_to_install() {
    for (app, key, lacks, package) in [
        (App::example("python-web"), "python", "python3", "`python3`"),
        (App::example("node-web"), "nodejs", "node", "`nodejs`"),
        (
            App::with(&[("package.json", "{\"dependencies\": {\"x\": \"1\"}}")]),
            "nodejs",
            "npm",
            "`npm`",
        ),
    ] {
        let complaint = app
            .lacking(&[lacks])
            .build(key)
            .map(|built| built.output)
            .unwrap_err();
        assert!(
            complaint.contains("install the package") && complaint.contains(package),
            "{complaint}"
        );
    }
}

#[test]
fn node_takes_vendored_modules_as_they_are() {
    let app = App::example("node-web");
    let built = app.lacking(&["npm"]).build("nodejs").unwrap();
    assert!(
        built.output.contains("Using the vendored node_modules"),
        "{}",
        built.output
    );
    assert_eq!(built.web.as_deref(), Some("node server.js"));
}

#[test]
fn node_starts_what_package_json_says() {
    for (package, files, web) in [
        (
            r#"{"scripts": {"start": "node server.js --port 1"}}"#,
            &[][..],
            Some("node server.js --port 1"),
        ),
        (
            r#"{"scripts": {"start": "node a.js && node b.js"}}"#,
            &[],
            Some("npm start"),
        ),
        (
            r#"{"scripts": {"start": "node a.js", "prestart": "x"}}"#,
            &[],
            Some("npm start"),
        ),
        (
            r#"{"scripts": {"start": "next start"}}"#,
            &[],
            Some("npm start"),
        ),
        (
            r#"{"main": "lib/go.js"}"#,
            &["lib/go.js"],
            Some("node lib/go.js"),
        ),
        (
            r#"{"main": "$(reboot).js"}"#,
            &["index.js"],
            Some("node index.js"),
        ),
        (r#"{}"#, &["server.js", "index.js"], Some("node server.js")),
        (r#"{}"#, &[], None),
    ] {
        let mut all = vec![("package.json", package)];
        all.extend(files.iter().map(|name| (*name, "")));
        let built = App::with(&all).build("nodejs").unwrap();
        assert_eq!(built.web.as_deref(), web, "{package}");
    }
    for package in ["{", "[]", "null"] {
        let complaint = App::with(&[("package.json", package)])
            .build("nodejs")
            .map(|built| built.output)
            .unwrap_err();
        assert!(complaint.contains("package.json"), "{complaint}");
    }
}

fn pip_is_there() -> bool {
    let mut pip = Command::new("/usr/bin/python3");
    pip.args(["-m", "pip", "--version"])
        .env_clear()
        .env("PATH", PATH);
    pip.output().is_ok_and(|output| output.status.success())
}

#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn println_skipped(what: &str) {
    println!("SKIPPED: this test needs {what} for /usr/bin/python3");
}

/// The smallest package that pip installs.
fn wheel(path: &Path) {
    let options = zip::write::SimpleFileOptions::default();
    let mut wheel = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, content) in [
        ("tiny.py", "word = 'vendored'\n"),
        (
            "tiny-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        ),
        (
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (
            "tiny-1.0.dist-info/RECORD",
            "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n",
        ),
    ] {
        wheel.start_file(name, options).unwrap();
        wheel.write_all(content.as_bytes()).unwrap();
    }
    wheel.finish().unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}
