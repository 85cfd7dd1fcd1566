//! `kvs edit` with a scripted editor: success, a syntax error, a conflict, damage.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::Place;

#[test]
fn edit_stores_the_changes_and_leaves_no_copy() {
    let place = Place::new();
    for key in ["a", "b", "c"] {
        place.run(&["set", key, "old"]).ok();
    }
    let editor = place.editor("sed -i -e '/^b:/d' -e 's/^a:.*/a: new/' \"$1\"; echo 'd: added' >> \"$1\"");
    let run = place.with(&["edit"], &[("EDITOR", &editor)], b"").ok();
    assert_eq!((run.text(), run.err.trim_end()), ("", "default: 2 written, 1 deleted"));
    assert_eq!(place.run(&["list"]).ok().text(), "a\tnew\nc\told\nd\tadded\n");
    let run = place.with(&["edit"], &[("VISUAL", "true"), ("EDITOR", &editor)], b"").ok();
    assert_eq!(run.err.trim_end(), "nothing was changed");
    assert_eq!(place.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn edit_creates_a_bucket() {
    let place = Place::new();
    let editor = place.editor("echo 'greeting: hello' >> \"$1\"");
    place.with(&["edit", "--bucket", "new"], &[("EDITOR", &editor)], b"").ok();
    assert_eq!(place.run(&["get", "greeting", "--bucket", "new"]).ok().text(), "hello");
}

#[test]
fn edit_keeps_the_copy_if_the_user_stops_after_a_syntax_error() {
    let place = Place::new();
    place.run(&["set", "a", "old"]).ok();
    let breaks = place.editor("echo 'a: [1, 2' > \"$1\"");
    let run = place.with(&["edit"], &[("EDITOR", &breaks)], b"what?\nx\n").fails(1, "(e)dit again");
    assert!(run.err.contains("line 1"), "{run:?}");
    let kept = place.leftovers().pop().unwrap();
    let file = kept.join("default.yaml");
    assert!(run.err.contains(file.to_str().unwrap()), "{run:?}");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a: [1, 2\n");
    assert_eq!(place.run(&["get", "a"]).ok().text(), "old");
    std::fs::remove_dir_all(kept).unwrap();

    // A second round corrects it.
    let corrects =
        place.editor("if grep -q new \"$1\"; then echo 'a: corrected' > \"$1\"; else echo 'a: [new' > \"$1\"; fi");
    place.with(&["edit"], &[("EDITOR", &corrects)], b"e\n").ok();
    assert_eq!(place.run(&["get", "a"]).ok().text(), "corrected");
    assert_eq!(place.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn edit_does_not_replace_what_others_wrote_at_the_same_time() {
    let place = Place::new();
    for key in ["a", "b"] {
        place.run(&["set", key, "old"]).ok();
    }
    let kvs = env!("CARGO_BIN_EXE_kvs");
    let other = format!("{kvs} set a theirs; sed -i 's/^a:.*/a: mine/' \"$1\"");
    let run = place.with(&["edit"], &[("EDITOR", &place.editor(&other))], b"x\n").fails(1, "\"a\"");
    assert_eq!(place.run(&["get", "a"]).ok().text(), "theirs");
    assert_eq!(place.leftovers().len(), 1, "{run:?}");
    // A change of another key is not a conflict, and is kept.
    let other = format!("{kvs} set a again; sed -i 's/^b:.*/b: mine/' \"$1\"");
    place.with(&["edit"], &[("EDITOR", &place.editor(&other))], b"").ok();
    assert_eq!(place.run(&["list"]).ok().text(), "a\tagain\nb\tmine\n");
}

#[test]
fn edit_shows_conflicts_and_lets_the_user_decide() {
    let place = Place::new();
    place.file("data.yaml", "a: old\nb: old\n");
    place.run(&["import", "data.yaml"]).ok();
    let kvs = env!("CARGO_BIN_EXE_kvs");
    let script = format!(
        "if [ -e ran ]; then cp \"$1\" shown; else touch ran; {kvs} set a theirs; {kvs} set b same; \
         sed -i 's/^a:.*/# mine\\na: mine/; s/^b:.*/b: same/' \"$1\"; fi"
    );
    let run = place.with(&["edit"], &[("EDITOR", &place.editor(&script))], b"e\n").ok();
    assert!(run.err.contains("nothing is stored"), "{run:?}");
    let shown = String::from_utf8(place.read("shown")).unwrap();
    assert!(shown.contains("# CONFLICT a: {value: theirs, ") && shown.contains("\na: mine\n"), "{shown}");
    assert!(!shown.contains("# CONFLICT b"), "both wrote the same value: {shown}");
    assert_eq!(place.run(&["list"]).ok().text(), "a\tmine\nb\tsame\n");
    let file = String::from_utf8(place.read("data/default.yaml")).unwrap();
    assert!(file.contains("# mine\na: mine\n") && !file.contains("CONFLICT"), "{file}");
}

#[test]
fn a_failing_editor_stores_nothing() {
    let place = Place::new();
    place.run(&["set", "a", "old"]).ok();
    place
        .with(&["edit"], &[("EDITOR", &place.editor("echo 'a: new' > \"$1\"; exit 3"))], b"")
        .fails(1, "your text is in ");
    assert_eq!(place.run(&["get", "a"]).ok().text(), "old");
    assert_eq!(place.leftovers().len(), 1, "the changes are kept");
    // An editor that changes nothing, or does not start, leaves no copy.
    for editor in [place.editor("exit 3"), "no-such-editor".to_owned()] {
        place.with(&["edit"], &[("EDITOR", &editor)], b"").fails(1, "nothing was changed");
        assert_eq!(place.leftovers().len(), 1);
    }
}

#[test]
fn edit_repairs_a_damaged_bucket() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    let mut text = place.read("data/default.yaml");
    text.extend_from_slice(b"---\nbad: [1, 2\n...\n");
    place.file("data/default.yaml", &text);
    place.run(&["set", "b", "1"]).fails(1, "default.yaml");
    place.with(&["edit"], &[("EDITOR", &place.editor("sed -i 's/^bad:.*/bad: corrected/' \"$1\""))], b"").ok();
    place.run(&["check"]).ok();
    assert_eq!(place.run(&["list"]).ok().text(), "a\t1\nbad\tcorrected\n");
}
