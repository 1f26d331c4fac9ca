-- Creates an Ardour session with one stereo track, connected to the master bus.
--
-- arguments: session folder, session name, sample rate in Hz

local folder, name, rate = arg[1], arg[2], tonumber(arg[3])
AudioEngine:set_backend("None (Dummy)", "", "")
local session = assert(create_session(folder, name, rate))
for track in session:new_audio_track(2, 2, nil, 1, "Mixture", ARDOUR.PresentationInfo.max_order,
                                     ARDOUR.TrackMode.Normal, true):iter() do
  for channel = 0, 1 do
    track:output():nth(channel):connect("Master/audio_in " .. channel + 1)
  end
  -- Tests compare the plugin's output, without Ardour's pan law.
  track:panner_shell():set_bypassed(true)
end
session:save_state("")
close_session()
quit()
