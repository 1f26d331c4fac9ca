"""The VST3's window in Ardour, which has a keyboard handling of its own."""

import ardour_window
import numpy as np


def test_a_text_typed_in_ardour_is_saved_in_force_and_there_again(tmp_path):
    typed = ardour_window.type_and_reopen(tmp_path / "home", tmp_path / "ardour.png")
    assert '\\"the music\\"' in typed.saved, typed.saved
    assert '\\"the music\\"' in typed.reopened, typed.reopened
    below_ardours_row = typed.pixels[40:].reshape(-1, 3)
    assert len(np.unique(below_ardours_row, axis=0)) > 50, "the window that was open with the session is drawn"
    music, speech = ardour_window.kept_and_lost(typed.exported)
    print(f"\nmeasured: what Ardour exports is the music by {music:.1f} dB, the speech by {speech:.1f} dB")
    assert music > speech + 6
