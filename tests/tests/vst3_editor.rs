//! The bundled VST3's editor.

use std::time::Duration;

use sift_tests::display::HostWindow;
use sift_tests::fixtures::vst3_module;
use sift_tests::host_test;
use sift_tests::process::eventually;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::vst3_host::Instance;

host_test!(scale_before_the_window_is_open_scales_it, TestEnvironment::as_delivered().with_display(), {
    let plugin = Instance::create(&vst3_module()).unwrap();
    let host = HostWindow::open(1600, 1200).unwrap();
    let view = plugin.create_view().unwrap();
    let (width, height) = view.size().unwrap();
    for scale in [1.25, 1.67, 1.75] {
        view.set_scale(scale).unwrap();
        let physical = |length: u32| (f64::from(length) * f64::from(scale)).round() as u32;
        let expected = (physical(width), physical(height));
        assert_eq!(view.size().unwrap(), expected, "reported at {scale} before the window is open");
        view.open(host.id()).unwrap();
        assert!(eventually(Duration::from_secs(20), || host.is_drawn().unwrap()), "the editor stays empty");
        assert_eq!(host.editor_size().unwrap(), Some(expected), "shown at {scale}");
        assert_eq!(view.size().unwrap(), expected, "reported at {scale}");
        view.close().unwrap();
    }
});
