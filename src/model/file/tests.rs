use proptest::prelude::*;

use super::*;

/// A model of 2 inputs, 3 hidden units and 2 classes, with everything awkward in its names and numbers.
fn small() -> ModelFile {
    let network = Network::new(2, &[3], 2).unwrap();
    ModelFile {
        activation: Activation::Relu,
        fingerprint: Digest::of(b"small"),
        semantic_digest: Digest::of(b"asked"),
        specification: BTreeMap::from([("rounds".to_owned(), "40".to_owned()), ("seed".to_owned(), "1".to_owned())]),
        scaling: vec![FeatureScale::new(0.1 + 0.2, 1.0 / 3.0).unwrap(), FeatureScale::IDENTITY],
        feature_names: vec!["width, \"mm\"".to_owned(), "größe\n".to_owned()],
        schema: None,
        target: classes(["no", "да"]),
        parameters: (0..network.parameters()).map(|index| index as f32 * 0.1 - 0.5).collect(),
        network,
    }
}

fn classes(names: [&str; 2]) -> Target {
    Target::Classes(names.map(str::to_owned).into())
}

/// The same with numbers as targets.
fn of_numbers() -> ModelFile {
    let scale = |name, mean, deviation| TargetScale::new(name, mean, deviation).unwrap();
    let target = Target::Values(vec![scale("price, \"€\"", 0.1 + 0.2, 1.0 / 3.0), scale("age", -1.5, 1e-300)]);
    ModelFile { target, ..small() }
}

fn refused(change: impl Fn(&mut ModelFile)) -> ModelFault {
    let mut model = small();
    change(&mut model);
    model.to_bytes().unwrap_err()
}

/// The fault of the small model's file after its header was changed as text.
fn refused_with(from: &str, to: &str) -> ModelFault {
    let bytes = small().to_bytes().unwrap();
    let header_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + header_bytes]).unwrap();
    assert!(header.contains(from), "{header}");
    let header = header.replace(from, to);
    let changed = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + header_bytes..]].concat();
    ModelFile::from_bytes(&changed).unwrap_err()
}

#[test]
fn the_bytes_are_a_sorted_header_and_the_parameters_in_their_order() {
    let bytes = small().to_bytes().unwrap();
    let header = concat!(
        r#"{"__metadata__":{"activation":"relu","class_names":"[\"no\",\"да\"]","#,
        r#""feature_inverse_deviations":"[0.3333333333333333,1.0]","feature_means":"[0.30000000000000004,0.0]","#,
        r#""feature_names":"[\"width, \\\"mm\\\"\",\"größe\\n\"]","#,
        r#""fingerprint":"FINGERPRINT","#,
        r#""format":"gradwire model 1","job.rounds":"40","job.seed":"1","network":"2-3-2","semantic_digest":"ASKED"},"#,
        r#""layer.0.bias":{"data_offsets":[24,36],"dtype":"F32","shape":[3]},"#,
        r#""layer.0.weight":{"data_offsets":[0,24],"dtype":"F32","shape":[2,3]},"#,
        r#""layer.1.bias":{"data_offsets":[60,68],"dtype":"F32","shape":[2]},"#,
        r#""layer.1.weight":{"data_offsets":[36,60],"dtype":"F32","shape":[3,2]}}"#,
    )
    .replace("FINGERPRINT", &Digest::of(b"small").to_string())
    .replace("ASKED", &Digest::of(b"asked").to_string());
    let padded = header.len().next_multiple_of(8);
    let parameters: Vec<u8> = small().parameters.iter().flat_map(|value| value.to_le_bytes()).collect();
    let expected = [
        &(padded as u64).to_le_bytes(),
        format!("{header}{}", " ".repeat(padded - header.len())).as_bytes(),
        &parameters,
    ]
    .concat();
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&expected));
    assert_eq!(bytes, expected);
}

#[test]
fn a_model_is_read_back_as_it_was_written() {
    for activation in [Activation::Relu, Activation::Identity, Activation::MaskedIdentity] {
        let model = ModelFile { activation, ..small() };
        assert_eq!(ModelFile::from_bytes(&model.to_bytes().unwrap()), Ok(model));
    }
}

#[test]
fn a_model_of_numbers_says_what_each_is_called_and_how_it_is_scaled() {
    let bytes = of_numbers().to_bytes().unwrap();
    let header_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + header_bytes]).unwrap();
    let about = &header["__metadata__"];
    assert_eq!(about["target_names"], r#"["price, \"€\"","age"]"#);
    assert_eq!(about["target_means"], "[0.30000000000000004,-1.5]");
    assert_eq!(about["target_deviations"], "[0.3333333333333333,1e-300]");
    assert!(about.get("class_names").is_none());
    assert_eq!(ModelFile::from_bytes(&bytes), Ok(of_numbers()));
}

#[test]
fn scales_of_targets_that_are_none_or_too_few_are_refused() {
    let refused = |from: &str, to: &str| {
        let bytes = of_numbers().to_bytes().unwrap();
        let header_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + header_bytes]).unwrap();
        assert!(header.contains(from), "{header}");
        let header = header.replace(from, to);
        let changed = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + header_bytes..]].concat();
        ModelFile::from_bytes(&changed).unwrap_err()
    };
    let count = |what, got, expected| ModelFault::Count { what, got, expected };
    assert_eq!(refused("[0.30000000000000004,-1.5]", "[1]"), count("means of targets", 1, 2));
    assert_eq!(refused("[0.3333333333333333,1e-300]", "[1,2,3]"), count("deviations of targets", 3, 2));
    let value = |got: &str| ModelFault::Value { key: "target_deviations", got: got.to_owned() };
    assert_eq!(refused("[0.3333333333333333,1e-300]", "[1,0]"), value("[1,0]"));
    assert_eq!(refused("\"target_means\"", "\"other\""), ModelFault::Missing { key: "target_means" });
    let one = ModelFile { target: Target::Values(vec![TargetScale::new("age", 0.0, 1.0).unwrap()]), ..small() };
    assert_eq!(one.to_bytes().unwrap_err(), count("scales of targets", 1, 2));
}

#[test]
fn more_than_ten_layers_keep_their_order() {
    let network = Network::new(2, &[2; 11], 2).unwrap();
    let parameters = (0..network.parameters()).map(|index| index as f32).collect();
    let model = ModelFile { network, parameters, ..small() };
    assert_eq!(ModelFile::from_bytes(&model.to_bytes().unwrap()), Ok(model));
}

#[test]
fn tensors_may_lie_in_another_order() {
    // As other programs write them: sorted by name.
    let model = small();
    let parameters: Vec<u8> = model.parameters.iter().flat_map(|value| value.to_le_bytes()).collect();
    let (w0, rest) = parameters.split_at(24);
    let (b0, rest) = rest.split_at(12);
    let (w1, b1) = rest.split_at(24);
    let mut header = model.header();
    for (name, start, end) in
        [("layer.0.bias", 0, 12), ("layer.0.weight", 12, 36), ("layer.1.bias", 36, 44), ("layer.1.weight", 44, 68)]
    {
        header[name]["data_offsets"] = json!([start, end]);
    }
    let header = header.to_string();
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), b0, w0, b1, w1].concat();
    assert_eq!(ModelFile::from_bytes(&bytes), Ok(model));
}

#[test]
fn a_model_that_does_not_fit_its_network_is_refused() {
    let count = |what, got, expected| ModelFault::Count { what, got, expected };
    assert_eq!(refused(|model| model.parameters.truncate(16)), count("parameters", 16, 17));
    assert_eq!(refused(|model| model.scaling.truncate(1)), count("scales of features", 1, 2));
    assert_eq!(refused(|model| model.feature_names.clear()), count("names of features", 0, 2));
    let three = Target::Classes(vec!["maybe".to_owned(); 3]);
    assert_eq!(refused(|model| model.target = three.clone()), count("names of classes", 3, 2));
    for parameter in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(refused(|model| model.parameters[9] = parameter), ModelFault::NotFinite { index: 9 });
    }
}

#[test]
fn a_header_beyond_the_formats_limit_is_refused() {
    let fault = refused(|model| model.target = classes(["", &"x".repeat(HEADER_BYTES_MAX)]));
    assert!(matches!(fault, ModelFault::HeaderTooLarge { got } if got > HEADER_BYTES_MAX));
}

#[test]
fn a_file_of_another_format_is_refused() {
    let format = |got: &str| ModelFault::Format { got: Some(got.to_owned()) };
    assert_eq!(refused_with("gradwire model 1", "gradwire model 2"), format("gradwire model 2"));
    assert_eq!(refused_with("\"format\"", "\"former\""), ModelFault::Format { got: None });
    assert_eq!(refused_with("__metadata__", "__metadate__").to_string()[..29], *"the file is no model, or dama");
}

#[test]
fn metadata_that_are_missing_are_named() {
    for key in
        ["network", "activation", "fingerprint", "semantic_digest", "feature_names", "feature_means", "class_names"]
    {
        assert_eq!(refused_with(&format!("\"{key}\":"), "\"other\":"), ModelFault::Missing { key });
    }
}

#[test]
fn metadata_that_say_nonsense_are_named_with_what_they_say() {
    let cases = [
        ("network", "2-3-2", "2-3-x"),
        ("network", "2-3-2", "2"),
        ("network", "2-3-2", ""),
        ("network", "2-3-2", "+2-3-2"),
        ("network", "2-3-2", "2-03-2"),
        ("network", "2-3-2", "2-0-2"),
        ("network", "2-3-2", "2-99999999999-2"),
        ("network", "2-3-2", "1048576-1048576-2"),
        ("activation", "relu", "sinh"),
        ("feature_means", "[0.30000000000000004,0.0]", "[1e400,0.0]"),
        ("feature_means", "[0.30000000000000004,0.0]", "0.3"),
        ("feature_means", "[0.30000000000000004,0.0]", "[null,0]"),
        ("feature_inverse_deviations", "[0.3333333333333333,1.0]", "[0.3333333333333333,0.0]"),
        ("feature_inverse_deviations", "[0.3333333333333333,1.0]", "[-1,1]"),
    ];
    for (key, from, to) in cases {
        assert_eq!(refused_with(from, to), ModelFault::Value { key, got: to.to_owned() }, "{to}");
    }
    let fingerprint = Digest::of(b"small").to_string();
    assert_eq!(refused_with(&fingerprint, "abc"), ModelFault::Value { key: "fingerprint", got: "abc".to_owned() });
    let names = refused_with(r#"[\"no\",\"да\"]"#, "[1,2]");
    assert_eq!(names, ModelFault::Value { key: "class_names", got: "[1,2]".to_owned() });
    let long = refused_with("relu", &"x".repeat(1_000_000)).to_string();
    assert!(long.len() < 200, "{long}");
}

#[test]
fn counts_that_contradict_the_network_are_refused() {
    let count = |what, got, expected| ModelFault::Count { what, got, expected };
    assert_eq!(refused_with("[0.3333333333333333,1.0]", "[1]"), count("inverse deviations", 1, 2));
    assert_eq!(refused_with(r#"[\"no\",\"да\"]"#, "[]"), count("names of classes", 0, 2));
    assert_eq!(refused_with("2-3-2", "2-3-3-2"), count("tensors", 4, 6));
    assert_eq!(refused_with("2-3-2", "2-2"), count("tensors", 4, 2));
}

#[test]
fn tensors_of_another_name_type_or_shape_are_refused() {
    let tensor =
        |name: &str, expected: &[usize]| ModelFault::Tensor { name: name.to_owned(), expected: expected.into() };
    assert_eq!(refused_with("layer.1.bias", "layer.9.bias"), tensor("layer.1.bias", &[2]));
    assert_eq!(refused_with(r#""F32","shape":[3,2]"#, r#""I32","shape":[3,2]"#), tensor("layer.1.weight", &[3, 2]));
    assert_eq!(refused_with(r#""shape":[2,3]"#, r#""shape":[3,2]"#), tensor("layer.0.weight", &[2, 3]));
    assert_eq!(refused_with("2-3-2", "3-2-2"), tensor("layer.0.weight", &[3, 2]));
    let overflow = refused_with(r#""shape":[2,3]"#, r#""shape":[4294967296,4294967296]"#);
    assert!(matches!(overflow, ModelFault::NotSafetensors { .. }), "{overflow:?}");
}

#[test]
fn parameters_that_are_not_finite_are_refused() {
    let mut bytes = small().to_bytes().unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(ModelFile::from_bytes(&bytes), Err(ModelFault::NotFinite { index: 16 }));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = small().to_bytes().unwrap();
    for end in 0..bytes.len() {
        let fault = ModelFile::from_bytes(&bytes[..end]).unwrap_err();
        assert!(matches!(fault, ModelFault::NotSafetensors { .. }), "{end}: {fault:?}");
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert!(matches!(ModelFile::from_bytes(&longer), Err(ModelFault::NotSafetensors { .. })));
}

#[test]
fn a_file_with_any_bit_flipped_is_refused_or_another_valid_model() {
    let mut bytes = small().to_bytes().unwrap();
    for index in 0..bytes.len() {
        for bit in 0..8 {
            bytes[index] ^= 1 << bit;
            if let Ok(model) = ModelFile::from_bytes(&bytes) {
                assert_eq!(ModelFile::from_bytes(&model.to_bytes().unwrap()), Ok(model), "byte {index}, bit {bit}");
            }
            bytes[index] ^= 1 << bit;
        }
    }
}

#[test]
fn a_header_length_that_lies_is_refused_without_memory_being_taken() {
    for length in [u64::MAX, 1 << 40, HEADER_BYTES_MAX as u64, 9] {
        let fault = ModelFile::from_bytes(&[&length.to_le_bytes()[..], b"{}"].concat()).unwrap_err();
        assert!(matches!(fault, ModelFault::NotSafetensors { .. }), "{fault:?}");
    }
}

#[test]
fn a_file_is_written_whole_under_its_name_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    fs::write(&path, "an older model").unwrap();
    small().write(&path).unwrap();
    assert_eq!(ModelFile::read(&path), Ok(small()));
    assert_eq!(fs::read(&path).unwrap(), small().to_bytes().unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn a_written_file_has_the_permissions_of_any_other() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let (model, other) = (directory.path().join("model.safetensors"), directory.path().join("other"));
    small().write(&model).unwrap();
    fs::write(&other, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&model), mode(&other));
}

#[test]
fn a_model_that_cannot_be_written_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    fs::write(&path, "an older model").unwrap();
    let broken = ModelFile { parameters: vec![], ..small() };
    assert!(matches!(broken.write(&path).unwrap_err().fault, ModelFault::Count { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"an older model");

    let text = |path: &Path| small().write(path).unwrap_err().to_string();
    let absent = directory.path().join("absent").join("model.safetensors");
    assert!(text(&absent).starts_with(&format!("{}: the model cannot be written: ", absent.display())));
    assert!(text(&absent).ends_with("check that the directory exists and that you may write to it"));
    assert!(text(&path.join("below a file")).contains("cannot be written"));
}

#[test]
fn only_a_regular_file_is_replaced_or_read() {
    let directory = tempfile::tempdir().unwrap();
    let fault = |path: &Path| small().write(path).unwrap_err().fault;
    assert_eq!(fault(directory.path()), ModelFault::NotAFile);
    assert_eq!(fault(Path::new("/")), ModelFault::NotAFile);
    assert_eq!(fault(Path::new("")), ModelFault::NotAFile);
    assert_eq!(ModelFile::read(directory.path()).unwrap_err().fault, ModelFault::NotAFile);
    // A link to the device: were it not refused, only the link would be lost.
    let link = directory.path().join("null");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    assert_eq!(fault(&link), ModelFault::NotAFile);
    assert_eq!(ModelFile::read(&link).unwrap_err().fault, ModelFault::NotAFile);
    // What is open has a name in /dev, which a rename would replace.
    let open = tempfile::NamedTempFile::new().unwrap();
    let name = PathBuf::from(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(open.as_file())));
    assert_eq!(fault(&name), ModelFault::NotAFile);
}

#[test]
fn a_model_goes_to_where_a_link_leads_and_the_link_stays() {
    let directory = tempfile::tempdir().unwrap();
    let [link, model] = ["link", "model"].map(|name| directory.path().join(name));
    std::os::unix::fs::symlink("model", &link).unwrap();
    for _ in 0..2 {
        small().write(&link).unwrap();
        assert!(link.is_symlink());
        assert_eq!(ModelFile::read(&model), Ok(small()));
    }
}

#[test]
fn a_file_that_is_absent_or_no_model_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let text = || ModelFile::read(&path).unwrap_err().to_string();
    assert_eq!(text(), format!("{}: there is no such file; check the path", path.display()));
    fs::write(&path, "1,2,x\n3,4,y\n").unwrap();
    assert!(text().starts_with(&format!("{}: the file is no model, or damaged", path.display())), "{}", text());
    File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(text().contains("longer than"), "{}", text());
}

proptest! {
    #[test]
    fn any_names_and_numbers_are_read_back_exactly(
        names: [String; 4],
        specification: BTreeMap<String, String>,
        mean in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
        inverse in prop::num::f64::POSITIVE | prop::num::f64::NORMAL,
        parameters in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL, 17),
    ) {
        prop_assume!(FeatureScale::new(mean, inverse).is_some());
        let [a, b, c, d] = names;
        let model = ModelFile {
            specification,
            scaling: vec![FeatureScale::new(mean, inverse).unwrap(); 2],
            feature_names: vec![a, b],
            schema: Some("{\"format\":\"gradwire schema 1\"}".to_owned()),
            target: Target::Classes(vec![c, d]),
            parameters,
            ..small()
        };
        let bytes = model.to_bytes().unwrap();
        let read = ModelFile::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.scaling[0].mean().to_bits(), mean.to_bits());
        prop_assert_eq!(&read, &model);
        prop_assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn any_header_is_a_model_or_a_fault(header: String, data: Vec<u8>) {
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
        let _ = ModelFile::from_bytes(&bytes);
    }
}
