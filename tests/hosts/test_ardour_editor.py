"""The VST3's editor in Ardour, which handles the keyboard itself."""

import numpy as np

import ardour_editor


def test_text_typed_in_ardour_is_saved_loaded_and_in_effect(tmp_path):
    typed = ardour_editor.type_and_reopen(tmp_path / "home", tmp_path / "ardour.png")
    assert '\\"the music\\"' in typed.saved, typed.saved
    assert '\\"the music\\"' in typed.reopened, typed.reopened
    # Below the row of Ardour's own.
    editor = typed.pixels[40:].reshape(-1, 3)
    assert len(np.unique(editor, axis=0)) > 50, "the editor that opens with the session is empty"
    music, speech = ardour_editor.kept_and_lost(typed.exported)
    print(
        f"\nmeasured: SI-SDR of Ardour's export: {music:.1f} dB against the music, {speech:.1f} dB against the speech"
    )
    assert music > speech + 6
