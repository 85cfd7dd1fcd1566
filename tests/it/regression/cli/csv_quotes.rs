//! A CSV file with invalid quotes is rejected with the line, and nothing of it is stored.

use crate::cli::Place;

#[test]
fn invalid_quote_is_rejected_with_its_line_and_nothing_stored() {
    let place = Place::new();
    for (name, text, says) in [
        ("unclosed", "key,value\na,\"one\nb,two\nc,three\n", "line 2: the quote that opens a field here is not closed"),
        ("last", "key,value\na,one\nb,\"two", "line 3: the quote that opens a field here is not closed"),
        (
            "behind",
            "key,value\na,\"21.5\" C\n",
            "line 2: expected a comma or the end of the row after a closing quote, got \" \"",
        ),
        ("inside", "key,value\na,5\" pipe\n", "line 2: there is a quote in a field"),
        ("blank", "key,value\na, \"one\"\n", "line 2: there is a quote in a field"),
        ("header", "key,\"value\na,1\n", "line 1: the quote that opens a field here is not closed"),
        ("after a value of several lines", "key,value\na,\"1\n2\n3\"\nb,\"x\" y\n", "line 5: expected a comma"),
        ("within a value of several lines", "key,value\na,\"1\n2\"3\n", "line 3: expected a comma"),
        ("crlf", "key,value\r\na,\"1\r\n2\"\r\n\r\nb,\"x\"y\r\n", "line 5: expected a comma"),
        ("mark", "\u{feff}\"key\",value\na,\"x\n", "line 2: the quote"),
        ("semicolons", "key;value\na;1\n", "line 1: the columns are separated by semicolons"),
        ("duplicate", "key,value\na,\"1\n2\"\na,3\n", "line 4: the key \"a\" is already in line 2"),
    ] {
        let file = place.file("wrong.csv", text);
        let run = place.run(&["import", &file]).fails(1, says);
        assert!(run.err.contains("nothing was written"), "{name}: {run:?}");
        assert!(!place.path("data").exists(), "{name}");
    }
}

#[test]
fn valid_quotes_are_accepted() {
    let place = Place::new();
    let text = "\u{feff}\"key\",\"value\"\r\na,\"say \"\"hi\"\", twice\"\r\nb,\"two\r\nlines\"\r\n\r\nc,\r\nd,\"\"\r\n";
    let file = place.file("right.csv", text);
    place.run(&["import", &file]).ok();
    let json: serde_json::Value = serde_json::from_slice(&place.run(&["list", "--json"]).ok().out).unwrap();
    let values: Vec<_> = json.as_array().unwrap().iter().map(|entry| entry["value"].as_str().unwrap()).collect();
    assert_eq!(values, ["say \"hi\", twice", "two\r\nlines", "", ""]);
}
